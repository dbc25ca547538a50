"""Binds a plan to a machine and runs it."""

from .compile import compile
from .cpu import CpuExecutable
from .dense import Dense

__all__ = ["CpuExecutable", "Dense", "compile"]
