"""GM and L1: each row is fetched when its id comes up, from global memory or from core-local memory, where the rows
were preloaded and stay ([ASYM] section 3, papers.md A3). A few neighbouring cores that read each other's memory may
keep a shard together (ours).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Access, Gather, Ledger, Role, Shard, Table, Work

from .traffic import row_a_lookup, shard_bytes


class _RowByRow(ABC):
    """Rows come from `source`, one a look-up."""

    name: str
    source: Role
    together = 1

    def work(self, op: Gather, table: Table, shard: Shard, samples: float, access: Access) -> Work:
        """One random row read per look-up."""
        kept_bytes = self.resident(table, shard).get("local", 0)
        return row_a_lookup(self.source, op, table, shard, samples, access, kept_bytes=kept_bytes)

    @abstractmethod
    def resident(self, table: Table, shard: Shard) -> Mapping[Role, int]:
        """What is kept where."""

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


class _Together(_RowByRow):
    """L1 for a group of cores: each keeps every `together`-th row, and reads the others from its neighbours."""

    source: Role = "group"

    def resident(self, table: Table, shard: Shard) -> Mapping[Role, int]:
        """A core's part of the rows in local memory, which is a part of the group's."""
        part = -(-shard.rows // self.together) * table.format.stride_bytes(table.dim)
        return {"local": part, "group": shard_bytes(table, shard)}


class LocalOfTwo(_Together):
    """L1 for two neighbouring cores."""

    name = "l1x2"
    together = 2


class LocalOfFour(_Together):
    """L1 for four neighbouring cores."""

    name = "l1x4"
    together = 4


class LocalOfEight(_Together):
    """L1 for eight neighbouring cores."""

    name = "l1x8"
    together = 8
