"""PyTorch's own operators: a call a table, and one call over all tables with row numbers added up beforehand."""

from __future__ import annotations

from typing import Any

from ..case import GpuCase


class Loop:
    """`F.embedding_bag` (`F.embedding` for bags of one) a feature, then concatenation."""

    name = "torch"
    op_based = True
    graphable = True

    def __init__(self, case: GpuCase) -> None:
        torch = case.world.torch
        self._torch, self._case = torch, case
        self.version = str(torch.__version__)
        self.settings = "F.embedding_bag(sum) a feature (F.embedding for bags of one) + cat"
        self._tables = [case.table(feature.table) for feature in case.shape.model.features]
        self._ids = [case.by_feature(at) for at in range(case.sets)]

    def call(self, at: int) -> Any:
        """[B, W]."""
        functional = self._torch.nn.functional
        parts = [
            functional.embedding(ids[:, 0], table)
            if ids.shape[1] == 1
            else functional.embedding_bag(ids, table, mode="sum")
            for ids, table in zip(self._ids[at], self._tables, strict=True)
        ]
        return self._torch.cat(parts, 1)

    def output(self, result: Any) -> Any:
        """[B, W]."""
        return result

    def close(self) -> None:
        """Let go of ids."""
        self._ids = []


class Fused:
    """One call over all tables as one; bags of one come out sample by sample, longer ones feature by feature."""

    name = "torch_fused"
    op_based = True
    graphable = True

    def __init__(self, case: GpuCase) -> None:
        torch = case.world.torch
        self._torch, self._case = torch, case
        self.version = str(torch.__version__)
        self.settings = "one F.embedding over all tables" if case.one_hot else "one F.embedding_bag over all tables"
        self.settings += ", row numbers made beforehand"
        rows = [case.global_rows(at) for at in range(case.sets)]
        shape = (case.features, case.batch)
        self._rows = [each.view(shape).t().contiguous() for each in rows] if case.one_hot else rows
        self._offsets = None if case.offsets is None else case.offsets[:-1].contiguous()

    def call(self, at: int) -> Any:
        """[B, F, E], or [F * B, E] for longer bags."""
        functional = self._torch.nn.functional
        if self._offsets is None:
            return functional.embedding(self._rows[at], self._case.flat)
        return functional.embedding_bag(self._rows[at], self._case.flat, self._offsets, mode="sum")

    def output(self, result: Any) -> Any:
        """[B, W]."""
        case = self._case
        if self._offsets is not None:
            result = result.view(case.features, case.batch, case.dim).transpose(0, 1)
        return result.reshape(case.batch, case.width)

    def close(self) -> None:
        """Let go of row numbers."""
        self._rows = []


ENGINES = (Loop, Fused)
