"""From a checkpoint or module to a Model and its Weights."""
