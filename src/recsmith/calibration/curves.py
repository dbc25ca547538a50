"""All curves of one level: the best of a few tunings for each row size, with more rounds for the best."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Literal

from recsmith.spec import Curve, RowDtype, RowFormat, Tuning

from .levels import Level
from .probes import BAG, Bench, Spot
from .trial import Sample

ROW_BYTES = (32, 64, 128, 256, 512, 1024)
ENCODED: tuple[RowDtype, ...] = ("fp16", "bf16", "int8", "int4")
ENCODED_DIM = 64
WRITTEN_ROW_BYTES = (64, 128, 256, 512)
RowAccess = Literal["reader", "gather", "copy"]
ROW_ACCESSES: tuple[RowAccess, ...] = ("reader", "gather", "copy")
Probe = Callable[[Tuning, int], Sample]

NONE = Tuning()
_NEAR = (NONE, Tuning(8, "t0"))
_MIDDLE = (NONE, Tuning(16, "t0"), Tuning(32, "t0"), Tuning(48, "t0"), Tuning(32, "t1"))
_FAR = (
    Tuning(16, "t0"),
    Tuning(32, "t0"),
    Tuning(48, "t0"),
    Tuning(12, "t1"),
    Tuning(24, "t1"),
    Tuning(48, "t1"),
    Tuning(16, "nta"),
    Tuning(32, "nta"),
)
_WORTH_IT = 1.1
"""How much faster than without it prefetching has to be: timings of single rounds differ by as much."""
_GRID_ROUNDS = 3
_ROUNDS = 9


def tunings(level: Level) -> tuple[Tuning, ...]:
    """Those worth trying at a level: prefetching what is near already only costs instructions."""
    if level.memory.kind == "ram":
        return _FAR
    return _NEAR if level.private else _MIDDLE


def row_curves(
    bench: Bench, level: Level, processors: tuple[int, ...], row_bytes: int, inner: Callable[[RowAccess], float]
) -> Iterator[Curve]:
    """`reader`, `gather` and `copy` of one row size for each page size.

    Args:
        inner: seconds of the same at the next inner level, whose share is taken out.
    """
    for page in level.pages:
        spot = level.spot(processors, page)
        for access in ROW_ACCESSES:
            tuning, sample = best(_probe(bench, spot, access, row_bytes), tunings(level), bench)
            seconds = unmixed(sample.median_s, inner(access), level.inner_share)
            dtype = stored_as(row_bytes)[0]
            yield Curve(access, row_bytes, len(processors), page, seconds, sample.iqr_s, tuning, dtype)


def encoded_curves(bench: Bench, level: Level, processors: tuple[int, ...]) -> Iterator[Curve]:
    """`gather` and `copy` of rows that have to be decoded, from the nearest memory: what decoding takes shows there."""
    spot = level.spot(processors, level.pages[0])
    for dtype in ENCODED:
        row_bytes = RowFormat(dtype).row_bytes(ENCODED_DIM)
        pooled: tuple[tuple[RowAccess, int], ...] = (("gather", BAG), ("copy", 1))
        for access, pooling in pooled:
            sample = bench.look_ups(spot, ENCODED_DIM, dtype, NONE, _ROUNDS, pooling=pooling)
            cores = len(processors)
            yield Curve(access, row_bytes, cores, spot.page, sample.median_s, sample.iqr_s, NONE, dtype)


def flat_curves(bench: Bench, level: Level, processors: tuple[int, ...], inner_latency_s: float) -> Iterator[Curve]:
    """`read`, `write`, `stream_write` (in order, and by columns) and `latency` for each page size."""
    accesses: tuple[Literal["read", "write", "stream_write"], ...] = ("read", "write", "stream_write")
    for page in level.pages:
        spot = level.spot(processors, page)
        for access in accesses:
            sample = bench.sequential(spot, access, _ROUNDS)
            yield Curve(access, 0, len(processors), page, sample.median_s, sample.iqr_s)
        yield from _column_curves(bench, spot)
        bench.warm(spot)
        sample = bench.latency(spot, _ROUNDS)
        seconds = unmixed(sample.median_s, inner_latency_s, level.inner_share)
        yield Curve("latency", 0, len(processors), page, seconds, sample.iqr_s)


def _column_curves(bench: Bench, spot: Spot) -> Iterator[Curve]:
    accesses: tuple[Literal["write", "stream_write"], ...] = ("write", "stream_write")
    for access, row_bytes in product(accesses, WRITTEN_ROW_BYTES):
        sample = bench.columns(spot, access, row_bytes, _GRID_ROUNDS)
        yield Curve(access, row_bytes, len(spot.processors), spot.page, sample.median_s, sample.iqr_s)


def best(probe: Probe, candidates: tuple[Tuning, ...], bench: Bench) -> tuple[Tuning, Sample]:
    """The fastest tuning, and a careful timing of it; one timing of each when time is short, of one when it is up."""
    if bench.clock.spent_s > bench.clock.budget_s:
        middle = candidates[len(candidates) // 2]
        return middle, probe(middle, 1)
    if bench.clock.behind:
        return min(((tuning, probe(tuning, 1)) for tuning in candidates), key=lambda pair: pair[1].median_s)
    tried = {tuning: probe(tuning, _GRID_ROUNDS).median_s for tuning in candidates}
    tuning = min(tried, key=lambda tuning: tried[tuning] / (_WORTH_IT if tuning == NONE else 1.0))
    return tuning, probe(tuning, _ROUNDS)


def unmixed(seconds: float, inner_s: float, inner_share: float) -> float:
    """What an access costs at a level when `inner_share` of those timed were served one level further in."""
    return max((seconds - inner_share * inner_s) / (1 - inner_share), inner_s)


def stored_as(row_bytes: int) -> tuple[RowDtype, int]:
    """Format and dim of the rows that such a size stands for: int8 with its header of 4 bytes, else fp32."""
    return ("int8", row_bytes - 4) if row_bytes % 32 == 4 else ("fp32", row_bytes // 4)


def _probe(bench: Bench, spot: Spot, access: RowAccess, row_bytes: int) -> Probe:
    if access == "reader":
        return lambda tuning, rounds: bench.reader(spot, row_bytes, tuning, rounds)
    pooling = BAG if access == "gather" else 1
    dtype, dim = stored_as(row_bytes)
    return lambda tuning, rounds: bench.look_ups(spot, dim, dtype, tuning, rounds, pooling=pooling)
