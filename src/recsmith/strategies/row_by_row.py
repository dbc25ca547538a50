"""GM and L1: each row is fetched when its id comes up, from global memory or from core-local memory, where the rows
were preloaded and stay ([ASYM] section 3, papers.md A3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Access, Gather, Ledger, Role, Shard, Table, Work

from .traffic import row_a_lookup, shard_bytes


class _RowByRow:
    """Rows come from `source`, one a look-up."""

    name: str
    source: Role

    def work(self, op: Gather, table: Table, shard: Shard, samples: float, access: Access) -> Work:
        """One random row read per look-up."""
        return row_a_lookup(self.source, op, table, shard, samples, access, kept=self.source == "local")

    def dataflow(
        self,
        memory: Ledger,
        rows: NDArray[np.float64],
        bags: Sequence[NDArray[np.int64]],
        weights: Sequence[NDArray[np.float64]],
    ) -> NDArray[np.float64]:
        """Add each row to its bag's accumulator as it arrives."""
        out = np.zeros((len(bags), rows.shape[1]))
        for bag, (ids, scales) in enumerate(zip(bags, weights, strict=True)):
            for index, scale in zip(ids, scales, strict=True):
                out[bag] += scale * memory.gather(self.source, rows, int(index))
        return out


class GlobalMemory(_RowByRow):
    """GM: from global memory, with prefetches in flight."""

    name = "gm"
    source: Role = "global"

    def resident(self, table: Table, shard: Shard) -> Mapping[Role, int]:
        """Nothing is kept."""
        return {}


class Local(_RowByRow):
    """L1: from the core's own memory, which holds the shard for good."""

    name = "l1"
    source: Role = "local"

    def resident(self, table: Table, shard: Shard) -> Mapping[Role, int]:
        """The whole shard is kept in local memory."""
        return {"local": shard_bytes(table, shard)}
