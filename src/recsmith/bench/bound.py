"""What the machine allows: rows read with nothing else to do, output written once, products multiplied and added.

Legend: L look-ups.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsmith.kernels.cpu import choose_target
from recsmith.spec import Jagged

from . import process, rounds
from .engine import Setup
from .records import Bound

_DISTANCES = (4, 8, 16, 32)
_LEVELS = ("t0", "t1", "nta")
_TRIES = 3
_READS = 3
_ATTEMPTS = 12
_MOST_ADDRESSES = 1 << 22
# A smaller buffer is written so fast that the clock's own time shows.
_LEAST_WRITTEN_BYTES = 256 << 10
_FLOP_STEPS, _FLOP_TRIES = 100_000, 15


class PointerList:
    """Reads the rows that batches ask for through a list of their addresses, made beforehand.

    Args:
        trial: batches to choose the prefetch with.
    """

    def __init__(self, setup: Setup, trial: Sequence[Jagged]) -> None:
        import recsmith._native as _native

        self._native: Any = _native
        self._setup, self._target = setup, choose_target("auto")
        self._cores = process.granted_cpus()[: setup.threads]
        self._strides = [table.strides[0] for table in setup.feature_tables]
        self._bases = [table.ctypes.data for table in setup.feature_tables]
        self._row_bytes = [
            (table := setup.model.table_of(feature)).format.row_bytes(table.dim) for feature in setup.model.features
        ]
        self._prefetch = self._best_prefetch(trial)

    @property
    def prefetch(self) -> str:
        """The prefetch that was fastest on the trial batches."""
        level, distance = self._prefetch
        return f"{level}, {distance} rows ahead"

    def sampler(self, pool: rounds.Pool, calls: int) -> Callable[[], float]:
        """What yields seconds for the rows of one batch; `calls` batches are read together."""
        per_call = max(1, len(pool.batches[0].values))
        together = max(1, min(calls, _MOST_ADDRESSES // per_call))
        return lambda: self._undisturbed_s(pool, together) / together

    def _undisturbed_s(self, pool: rounds.Pool, together: int) -> float:
        """The least of several reads: a bound is what nothing goes below, and other processes only add to it."""
        found = []
        for attempt in range(_ATTEMPTS):
            before = process.preemptions()
            found.append(self._seconds(pool.take(together), *self._prefetch))
            if process.preemptions() == before and attempt >= _READS - 1:
                break
        return min(found)

    def _best_prefetch(self, trial: Sequence[Jagged]) -> tuple[str, int]:
        menu = list(itertools.product(_LEVELS, _DISTANCES))
        share = max(1, len(trial) // len(menu))
        found: dict[tuple[str, int], float] = {}
        for turn in range(_TRIES):
            for at, choice in enumerate(menu):
                start = (at + turn) % len(menu) * share
                seconds = self._seconds(trial[start : start + share], *choice)
                found[choice] = min(seconds, found.get(choice, seconds))
        return min(found, key=lambda choice: found[choice])

    def _seconds(self, batches: Sequence[Jagged], level: str, distance: int) -> float:
        lists = [self._addresses(ids) for ids in batches]
        total = 0.0
        for row_bytes in sorted(set(self._row_bytes)):
            addresses_L = np.concatenate([part for each in lists for size, part in each if size == row_bytes])
            if len(addresses_L):
                total += self._native.read_pointers(addresses_L, row_bytes, distance, level, self._cores, self._target)
        return total

    def _addresses(self, ids: Jagged) -> list[tuple[int, NDArray[np.uint64]]]:
        found = []
        for at, (base, stride) in enumerate(zip(self._bases, self._strides, strict=True)):
            low, high = at * ids.batch, (at + 1) * ids.batch
            if ids.offsets is not None:
                low, high = int(ids.offsets[low]), int(ids.offsets[high])
            address_L = ids.values[low:high].astype(np.uint64)
            address_L *= np.uint64(stride)
            address_L += np.uint64(base)
            found.append((self._row_bytes[at], address_L))
        return found

    def write_s(self) -> float:
        """Seconds to write one output at the best measured rate."""
        wanted = 4 * self._setup.batch * self._setup.columns
        nbytes = max(wanted, _LEAST_WRITTEN_BYTES)
        rates = [
            self._native.write_rate(nbytes, self._setup.pages, stores, self._cores, 15, self._target)
            for stores in ("regular", "stream")
        ]
        return wanted / max(rates)

    def bound(self, seconds: Sequence[float]) -> Bound:
        """From the samples of `sampler`, taken in the same rounds as the engines'."""
        return Bound(rounds.measurement(seconds).seconds, self.write_s(), self.prefetch, self.arithmetic_s())

    def arithmetic_s(self) -> float:
        """Seconds for the products of the interaction at the best measured rate of multiply-adds; 0 without any."""
        joint = self._setup.joint
        if joint is None or joint.pairs == 0:
            return 0.0
        rates = [self._native.flops_per_s(self._cores, _FLOP_STEPS, self._target) for _ in range(_FLOP_TRIES)]
        flops = 2 * joint.pairs * joint.dim * self._setup.batch
        return flops / (max(rates) * len(self._cores))
