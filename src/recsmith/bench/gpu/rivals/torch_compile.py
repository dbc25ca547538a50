"""torch.compile (inductor) over all tables as one."""

from __future__ import annotations

from typing import Any

from recsmith.spec import UnavailableError

from ..case import GpuCase


class Compiled:
    """`F.embedding` and, for longer bags of one length, a sum over the bag, compiled into one kernel."""

    name = "compile"
    op_based = True
    graphable = True

    def __init__(self, case: GpuCase) -> None:
        torch = case.world.torch
        self._case = case
        self.version = str(torch.__version__)
        lengths = set(case.bags)
        self._groups = [[at for at, bag in enumerate(case.bags) if bag == length] for length in sorted(lengths)]
        if len(self._groups) > 8:
            raise UnavailableError("bench", f"bags of {len(lengths)} lengths would take as many compiled kernels", "")
        self.settings = "torch.compile(F.embedding" + ("" if case.one_hot else " + sum") + ", dynamic=False)"
        self._rows = [self._grouped(at) for at in range(case.sets)]
        torch._dynamo.config.cache_size_limit = max(256, torch._dynamo.config.cache_size_limit)
        self._function = torch.compile(self._written, dynamic=False)
        order = [at for group in self._groups for at in group]
        self._order = None if order == sorted(order) else torch.argsort(torch.tensor(order)).to(case.world.place)

    def _grouped(self, at: int) -> list[Any]:
        """Row numbers of each group of features with bags of one length: [B, features, bag]."""
        torch, case = self._case.world.torch, self._case
        ids = case.by_feature(at)
        return [
            torch.stack([ids[f] + case.first_F[f] for f in group], 1).to(torch.int32).contiguous()
            for group in self._groups
        ]

    def _written(self, rows: list[Any], flat: Any) -> Any:
        torch = self._case.world.torch
        parts = []
        for group in rows:
            vectors = torch.nn.functional.embedding(group, flat)
            parts.append(vectors[:, :, 0] if group.shape[2] == 1 else vectors.sum(2))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def call(self, at: int) -> Any:
        """[B, F, E], features by the length of their bags."""
        return self._function(self._rows[at], self._case.flat)

    def output(self, result: Any) -> Any:
        """[B, W]."""
        ordered = result if self._order is None else result[:, self._order]
        return ordered.reshape(self._case.batch, self._case.width)

    def close(self) -> None:
        """Let go of row numbers."""
        self._rows = []


ENGINES = (Compiled,)
