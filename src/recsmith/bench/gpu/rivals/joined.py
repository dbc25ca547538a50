"""The interaction behind a rival's look-up: products by `bmm`, as DLRM does them, as they are and compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..case import GpuCase
from ..engine import GpuEngine

Maker = Callable[[GpuCase], GpuEngine]


class Joined:
    """A rival's look-up, then the interaction by torch.

    Args:
        make: of the rival.
        compiled: whether torch.compile fuses what it can of concatenation, products and their choice.
    """

    graphable = True
    op_based = True

    def __init__(self, case: GpuCase, make: Maker, *, compiled: bool) -> None:
        torch = case.world.torch
        self._torch, self._case, self._engine = torch, case, make(case)
        self.name = _name(make, compiled=compiled)
        self.version = self._engine.version
        how = "torch.compile of " if compiled else ""
        self.settings = f"{self._engine.settings}; then {how}cat, bmm, lower triangle, cat"
        vectors = case.features + 1
        low, high = torch.tril_indices(vectors, vectors, -1)
        self._chosen = (low * vectors + high).to(case.world.place)
        self._join = torch.compile(self._written, dynamic=False) if compiled else self._written

    def _written(self, bottom: Any, looked: Any) -> Any:
        torch, case = self._torch, self._case
        vectors = torch.cat([bottom, looked], 1).view(case.batch, case.features + 1, case.dim)
        products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
        return torch.cat([bottom, products[:, self._chosen]], 1)

    def call(self, at: int) -> Any:
        """[B, columns]."""
        looked = self._engine.output(self._engine.call(at))
        return self._join(self._case.bottom, looked)

    def output(self, result: Any) -> Any:
        """[B, columns]."""
        return result

    def close(self) -> None:
        """Close the rival."""
        self._engine.close()


def behind(makers: Iterable[Maker]) -> list[Maker]:
    """Each of `makers` with the interaction behind it, in both forms."""
    return [_maker(make, compiled=compiled) for make in makers for compiled in (False, True)]


def _maker(make: Maker, *, compiled: bool) -> Maker:
    def made(case: GpuCase) -> GpuEngine:
        return Joined(case, make, compiled=compiled)

    made.name = _name(make, compiled=compiled)  # type: ignore[attr-defined]
    return made


def _name(make: Maker, *, compiled: bool) -> str:
    name = getattr(make, "name", "")
    return f"{name}+compiled" if compiled else f"{name}+bmm"
