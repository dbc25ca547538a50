"""A memory that counts what is read from it, for running a strategy's reference flow."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Role


class CountingMemory:
    """Counts row reads and streamed bytes by role.

    Args:
        row_bytes: bytes of one stored row.
        stride_bytes: bytes from one stored row to the next.

    Attributes:
        gathered: role to number of random row reads.
        streamed_bytes: role to bytes read in order.
    """

    def __init__(self, row_bytes: int, stride_bytes: int) -> None:
        self._row_bytes = row_bytes
        self._stride_bytes = stride_bytes
        self.gathered: Counter[Role] = Counter()
        self.streamed_bytes: Counter[Role] = Counter()

    def gather(self, role: Role, rows: NDArray[np.float64], index: int) -> NDArray[np.float64]:
        """Row `index` of `rows`, counted as one random read from `role`."""
        self.gathered[role] += 1
        return rows[index]

    def stream(self, role: Role, rows: NDArray[np.float64], start: int, stop: int) -> NDArray[np.float64]:
        """A copy of rows [start, stop), counted as sequential reads from `role`."""
        self.streamed_bytes[role] += (stop - start) * self._stride_bytes
        return rows[start:stop].copy()

    @property
    def gathered_bytes(self) -> dict[Role, int]:
        """Role to bytes of random row reads."""
        return {role: count * self._row_bytes for role, count in self.gathered.items()}
