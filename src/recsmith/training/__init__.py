"""Training and evaluation of models in any representation; torch is needed here and nowhere above."""
