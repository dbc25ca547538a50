"""One measured point: so many cores do one thing to one level of memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from recsmith.spec import RowDtype, RowFormat, Tuning
from recsmith.spec.platform import Page

from .ground import Ground
from .trial import Clock, Sample, Timed, repeat

# Long enough for the clock, short enough to fit between two interruptions.
ROUND_S = 0.4e-3
# Output of this size stays in the innermost cache beside the rows, so that writing it costs what it costs there.
OUT_BYTES = 16 << 10
_FEWEST, _MOST = 1024, 1 << 16
BAG = 32


@dataclass(frozen=True)
class Spot:
    """Where and by whom.

    Attributes:
        processors: the operating system's numbers of the cores that take part.
        footprint_bytes: how much memory each core's accesses spread over.
        private: whether each core has its own footprint.
        row_s: about how long one row takes, for choosing how many to read.
    """

    processors: tuple[int, ...]
    footprint_bytes: int
    page: Page
    private: bool
    row_s: float

    @property
    def count(self) -> int:
        """Rows a core and round."""
        return int(min(max(ROUND_S / self.row_s, _FEWEST), _MOST))


@dataclass(frozen=True)
class Bench:
    """Everything a probe needs.

    Attributes:
        target: instruction set.
    """

    ground: Ground
    clock: Clock
    target: str

    def reader(self, spot: Spot, row_bytes: int, tuning: Tuning, rounds: int) -> Sample:
        """Seconds per row of reading rows behind pointers."""
        from recsmith import _native

        def run(rounds: int) -> Timed:
            return _native.time_reads(
                self._addresses(spot, row_bytes, rounds),
                row_bytes,
                tuning.prefetch_distance,
                tuning.prefetch_level,
                list(spot.processors),
                rounds,
                self.target,
            )

        return self._counted(self._repeat(run, rounds).per(spot.count))

    def latency(self, spot: Spot, rounds: int) -> Sample:
        """Seconds per dependent load."""
        from recsmith import _native

        def run(rounds: int) -> Timed:
            addresses_L = self._addresses(spot, 64, rounds, count=_CHASED)
            return _native.time_chase(addresses_L, list(spot.processors), rounds)

        return self._counted(self._repeat(run, rounds).per(_CHASED))

    def look_ups(
        self,
        spot: Spot,
        dim: int,
        dtype: RowDtype,
        tuning: Tuning,
        rounds: int,
        *,
        pooling: int,
        batch: int = 0,
        flow: Literal["gm", "l1", "gm_ub", "l1_ub"] = "gm",
    ) -> Sample:
        """Seconds per row of the look-up kernel: bags of `pooling` ids, calls of `batch` samples (0: as many as have
        their output stay in the innermost cache)."""
        from recsmith import _native

        stride = RowFormat(dtype).stride_bytes(dim)
        rows = max(1, spot.footprint_bytes // stride)
        samples = batch or max(1, min(256, OUT_BYTES // (dim * 4)))
        step = samples * pooling
        count = max(1, spot.count // step) * step
        slots = range(len(spot.processors))

        def run(rounds: int) -> Timed:
            return _native.time_lookups(
                target=self.target,
                flow=flow,
                row_dtype=dtype,
                dim=dim,
                tables=[self.ground.table(spot.page, s, spot.footprint_bytes, private=spot.private) for s in slots],
                rows=rows,
                stride=stride,
                ids=self.ground.ids(count * rounds * len(slots), rows),
                pooling=pooling,
                batch=samples,
                outs=[self.ground.out(slot, samples * dim * 4) for slot in slots],
                stream=tuning.stores == "stream",
                distance=tuning.prefetch_distance,
                level=tuning.prefetch_level,
                cores=list(spot.processors),
                rounds=rounds,
            )

        return self._counted(self._repeat(run, rounds).per(count))

    def sequential(self, spot: Spot, access: Literal["read", "write", "stream_write"], rounds: int) -> Sample:
        """Seconds per byte; cores that share a footprint each take a part of it."""
        from recsmith import _native

        slots = range(len(spot.processors))
        nbytes = spot.footprint_bytes // (1 if spot.private else len(slots)) // 64 * 64
        # Large footprints are not read to the end: what lies ahead was not read lately either.
        piece = min(nbytes, max(64, int(_SEQUENTIAL_BYTES // 64) * 64))
        passes = max(1, _PRIVATE_BYTES // piece) if spot.private else 1

        def run(rounds: int) -> Timed:
            def base(slot: int) -> int:
                start = self.ground.table(spot.page, slot, spot.footprint_bytes, private=spot.private)
                return start + (0 if spot.private else slot * nbytes)

            pieces = max(1, nbytes // piece)
            both: Timed = ([], [])
            for round in range(rounds):
                at = [base(slot) + (round % pieces) * piece for slot in slots]
                cores = list(spot.processors)
                timed = _native.time_sequential(access, at, piece, passes, cores, 1, self.target)
                both = ([*both[0], *timed[0]], [*both[1], *timed[1]])
            return both

        return self._counted(self._repeat(run, rounds).per(piece * passes))

    def columns(self, spot: Spot, access: Literal["write", "stream_write"], row_bytes: int, rounds: int) -> Sample:
        """Seconds per byte of filling an array of `_COLUMNS` vectors a row, column by column, as a look-up does."""
        from recsmith import _native

        slots = range(len(spot.processors))
        nbytes = min(spot.footprint_bytes, _WRITTEN_BYTES) // (1 if spot.private else len(slots))
        rows = max(1, nbytes // (_COLUMNS * row_bytes))
        share = rows * _COLUMNS * row_bytes
        at = [
            self.ground.table(spot.page, slot, spot.footprint_bytes, private=spot.private)
            + (0 if spot.private else slot * share)
            for slot in slots
        ]

        def run(rounds: int) -> Timed:
            both: Timed = ([], [])
            for _ in range(rounds):
                # The whole array: processors fetch neighbouring lines ahead, which single columns would not show.
                timed = _native.time_columns(
                    access, at, rows, row_bytes, _COLUMNS, 0, _COLUMNS, list(spot.processors), self.target
                )
                both = ([*both[0], *timed[0]], [*both[1], *timed[1]])
            return both

        return self._counted(self._repeat(run, rounds).per(share))

    def warm(self, spot: Spot) -> None:
        """Touch the footprint at random until caches hold what they will hold of it."""
        from recsmith import _native

        count = int(min(3 * spot.footprint_bytes // 64 + 64, _WARM_ROWS)) * len(spot.processors)
        addresses = self._addresses(spot, 64, 1, count=count // len(spot.processors))
        _native.time_reads(addresses, 64, 16, "t0", list(spot.processors), 1, self.target)

    def _addresses(
        self, spot: Spot, row_bytes: int, rounds: int, count: int | None = None
    ) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        rows = max(1, spot.footprint_bytes // row_bytes)
        each = (count or spot.count) * rounds
        parts = [
            self.ground.addresses(
                self.ground.table(spot.page, slot, spot.footprint_bytes, private=spot.private), each, rows, row_bytes
            )
            for slot in range(len(spot.processors))
        ]
        return np.concatenate(parts)

    def _repeat(self, run: Callable[[int], Timed], rounds: int) -> Sample:
        """Until the rounds agree; when time is short, only until one was undisturbed."""
        return repeat(run, rounds, agree=not self.clock.behind)

    def _counted(self, sample: Sample) -> Sample:
        return self.clock.count(sample)


_SEQUENTIAL_BYTES = 16 << 20
_PRIVATE_BYTES = 4 << 20
_WARM_ROWS = 2_000_000
_CHASED = 4000
# Vectors in a row of output: as many as models have features, and no power of two, which would crowd a few cache sets.
_COLUMNS = 41
_WRITTEN_BYTES = 256 << 20
