"""Binds a plan to a machine and runs it. The menu, by kind of platform."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from recsmith.spec import Registry

if TYPE_CHECKING:
    from .binding import compile
    from .computed import ComputedExecutable, compile_computed
    from .cpu import CpuExecutable
    from .dense import Dense
    from .folded import FoldedExecutable, compile_folded

__all__ = [
    "EXECUTORS",
    "ComputedExecutable",
    "CpuExecutable",
    "Dense",
    "FoldedExecutable",
    "compile",
    "compile_computed",
    "compile_folded",
]

EXECUTORS = Registry("executor", {"cpu": "recsmith.executor.binding:compile", "cuda": "recsmith.executor.cuda:compile"})

_HOMES = {
    "ComputedExecutable": "computed",
    "CpuExecutable": "cpu",
    "Dense": "dense",
    "FoldedExecutable": "folded",
    "compile": "binding",
    "compile_computed": "computed",
    "compile_folded": "folded",
}


def __getattr__(name: str) -> Any:
    """A public name, imported when first asked for: each kind of machine needs only its own kernels."""
    if name in _HOMES:
        return getattr(import_module(f"recsmith.executor.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'recsmith.executor' has no attribute '{name}'")
