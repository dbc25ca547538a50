"""From a checkpoint or module to a Model and its Weights."""

from .load import import_model

__all__ = ["import_model"]
