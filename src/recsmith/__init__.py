"""recsmith: inference for deep recommendation models, planned for the machine it runs on."""

__version__ = "0.1.0"
