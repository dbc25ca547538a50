"""Binds a plan to a machine and runs it."""

from .compile import compile
from .computed import ComputedExecutable, compile_computed
from .cpu import CpuExecutable
from .dense import Dense

__all__ = ["ComputedExecutable", "CpuExecutable", "Dense", "compile", "compile_computed"]
