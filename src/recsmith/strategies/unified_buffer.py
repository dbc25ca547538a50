"""GM-UB and L1-UB: stream the table through the scratch buffer in chunks and gather there
([ASYM] section 3, papers.md A3; the L1-UB row is inferred).

The streamed bytes depend on the table and not on the ids, which is why these flows do not care how the
ids are distributed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Access, Gather, Ledger, Role, Shard, Stream, Table, Work

from .traffic import chunk_rows, row_a_lookup, shard_bytes

CHUNK_BYTES = 16 * 1024


class _UnifiedBuffer:
    """Chunks go from `source` to staging memory; each look-up reads its row from there."""

    name: str
    source: Role
    together = 1

    def work(self, op: Gather, table: Table, shard: Shard, samples: float, access: Access) -> Work:
        """The whole shard streamed once, and one staged row read per look-up."""
        streams = (Stream(self.source, shard_bytes(table, shard)),)
        kept_bytes = shard_bytes(table, shard) if self.source == "local" else 0
        return row_a_lookup("staging", op, table, shard, samples, access, streams=streams, kept_bytes=kept_bytes)

    def dataflow(
        self,
        memory: Ledger,
        rows: NDArray[np.float64],
        bags: Sequence[NDArray[np.int64]],
        weights: Sequence[NDArray[np.float64]],
    ) -> NDArray[np.float64]:
        """For each chunk: bring it in, then serve the look-ups of all bags that fall in it."""
        out = np.zeros((len(bags), rows.shape[1]))
        step = max(1, CHUNK_BYTES // (rows.shape[1] * 4))
        for start in range(0, rows.shape[0], step):
            chunk = memory.stream(self.source, rows, start, min(start + step, rows.shape[0]))
            for bag, (ids, scales) in enumerate(zip(bags, weights, strict=True)):
                for at in np.flatnonzero((ids >= start) & (ids < start + step)):
                    out[bag] += scales[at] * memory.gather("staging", chunk, int(ids[at]) - start)
        return out


class GlobalUnifiedBuffer(_UnifiedBuffer):
    """GM-UB: chunks come from global memory."""

    name = "gm_ub"
    source: Role = "global"

    def resident(self, table: Table, shard: Shard) -> Mapping[Role, int]:
        """One chunk at a time in staging memory."""
        return {"staging": _staged_bytes(table, shard)}


class LocalUnifiedBuffer(_UnifiedBuffer):
    """L1-UB: chunks come from the core's local memory, which holds the shard for good."""

    name = "l1_ub"
    source: Role = "local"

    def resident(self, table: Table, shard: Shard) -> Mapping[Role, int]:
        """The shard in local memory and one chunk at a time in staging memory."""
        return {"local": shard_bytes(table, shard), "staging": _staged_bytes(table, shard)}


def _staged_bytes(table: Table, shard: Shard) -> int:
    rows = min(shard.rows, chunk_rows(table, CHUNK_BYTES))
    return rows * table.format.stride_bytes(table.dim)
