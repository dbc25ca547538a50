"""GM: each row is fetched from global memory when its id comes up ([ASYM] section 3, papers.md A3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Access, Gather, Ledger, Role, Shard, Table, Work

from .traffic import ids_bytes, lookups, rows_read, vectors, written_bytes


class GlobalMemory:
    """Row by row from global memory, with prefetches in flight."""

    name = "gm"

    def resident(self, table: Table, shard: Shard) -> Mapping[Role, int]:
        """Nothing is kept."""
        return {}

    def work(self, op: Gather, table: Table, shard: Shard, samples: float, access: Access) -> Work:
        """One random row read per look-up."""
        count = lookups(table, shard, samples, access)
        return Work(
            requests=(rows_read("global", table, shard, count, access),),
            ids_bytes=ids_bytes(samples, access),
            written_bytes=written_bytes(op, table, samples, access),
            vectors=vectors(op, samples, access),
            flops=2 * count * table.dim,
        )

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
                out[bag] += scale * memory.gather("global", rows, int(index))
        return out
