"""What it costs that random rows are spread over more memory than the curves' rows were (ours).

The processor translates every row's address. The wider the rows lie, the more of its translations come from far away,
in a virtual machine even with huge pages: rows of 64 bytes took 5.7 ns within 1 GiB, 9.5 in 4 GiB and 17 in 12 GiB (one
core of an AMD EPYC 26/2/1, 2026-11-21).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from recsmith.spec import Curve, Platform, Widening
from recsmith.spec.platform import Page

from .ground import Ground
from .here import affordable
from .levels import Level, crews
from .probes import BAG, OUT_BYTES, Bench

WIDER = 4
"""How many times wider than for the curves rows are spread; less when little memory is free."""
ROW_BYTES = (64, 256, 512)
_FREE_SHARE = 0.3
_LEAST = 2
"""Ranges that differ less than by this factor say nothing."""
_TURNS, _ROUNDS = 5, 3


def widenings(platform: Platform, bench: Bench, level: Level, curves: tuple[Curve, ...]) -> tuple[Widening, ...]:
    """Rows within the ground and spread `WIDER`, by one core and by all; none where memory is short.

    Args:
        level: main memory.
        curves: its own, whose tunings are used.
    """
    nbytes = affordable(platform, WIDER * bench.ground.nbytes, _FREE_SHARE)
    if nbytes < _LEAST * bench.ground.nbytes:
        return ()
    page = level.pages[0]
    ground = Ground.take(nbytes, platform.cores[0].index, (page,), len(platform.cores), OUT_BYTES)
    return tuple(_measured(platform, replace(bench, ground=ground), level, page, curves, bench.ground.nbytes))


def _measured(
    platform: Platform, bench: Bench, level: Level, page: Page, curves: tuple[Curve, ...], narrow_bytes: int
) -> Iterator[Widening]:
    sets = crews(platform, level.memory)
    for crew in dict.fromkeys((sets[0], sets[-1])):
        spots = [replace(level.spot(crew, page), footprint_bytes=n) for n in (narrow_bytes, bench.ground.nbytes)]
        points = [c for c in curves if c.access == "gather" and c.page == page and c.active_cores == len(crew)]
        for point in (c for c in points if c.row_bytes in ROW_BYTES):
            dim = point.row_bytes // 4
            # In turns, so that a machine that changes its speed changes both; the least is what nobody disturbed.
            seconds = [
                [bench.look_ups(s, dim, "fp32", point.tuning, _ROUNDS, pooling=BAG).median_s for s in spots]
                for _ in range(_TURNS)
            ]
            narrow_s, wide_s = (min(column) for column in zip(*seconds, strict=True))
            yield Widening(point.row_bytes, len(crew), page, narrow_bytes, bench.ground.nbytes, narrow_s, wide_s)
