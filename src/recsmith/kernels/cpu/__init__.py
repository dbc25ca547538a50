"""CPU kernels: what the native extension offers on this processor."""

from __future__ import annotations

import recsmith._native as _native
from recsmith.spec import UnavailableError

FLOWS = ("gm", "l1", "gm_ub", "l1_ub")


def targets() -> tuple[str, ...]:
    """Instruction sets that this processor can run, slowest first; "scalar" is always there."""
    return tuple(_native.targets())


def choose_target(isa: str) -> str:
    """The target called `isa`, or the best one for "auto".

    Raises:
        UnavailableError: `isa` is unknown or this processor cannot run it; there is no falling back.
    """
    available = targets()
    if isa == "auto":
        return available[-1]
    if isa not in available:
        raise UnavailableError(
            "kernels",
            f"instruction set '{isa}' was asked for; this processor runs {', '.join(available)}",
            "Choose one of these, or 'auto'.",
        )
    return isa


class CpuKernels:
    """The native kernels of kind "cpu"."""

    kind = "cpu"

    def supports(self, op: str, flow: str) -> bool:
        """Whether there is a kernel for an op (by its tag) and a data flow (by its name)."""
        return op == "gather" and flow in FLOWS
