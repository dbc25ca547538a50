"""Binds a plan to a GPU and runs it."""

from .compile import compile
from .executable import CudaExecutable

__all__ = ["CudaExecutable", "compile"]
