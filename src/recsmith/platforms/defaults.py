"""Speeds of a machine that nobody has measured: modelled, from rough numbers of server cores of 2018 to 2024.

Source: ours, rounded from public microbenchmark figures for Intel Xeon (Skylake to Sapphire Rapids) and AMD EPYC
(Rome to Genoa) at about 2.5 GHz. They rank flows and placements; they are not a promise. `recsmith measure`
replaces all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from recsmith.spec import Curve, Overheads
from recsmith.spec.platform import Page

ROW_BYTES = (16, 32, 64, 128, 256, 512, 1024)
OVERHEADS = Overheads(call_s=2e-6, task_s=80e-9, handoff_s=1.5e-6, wake_s=40e-6)
# Vector units of 8 fp32 lanes, two of them, a multiplication and an addition each.
FLOPS_PER_CLOCK = 32.0


@dataclass(frozen=True)
class Level:
    """Speeds of one level of memory for one core.

    Attributes:
        row_s: a random row with prefetch, its bytes excluded.
        line_s: each cache line of the row.
        latency_s: a dependent load.
        read_bytes_per_s, write_bytes_per_s, stream_bytes_per_s: sequential, the last with stores past the caches.
        shared_bytes_per_s: what all cores together get; infinite for private caches.
        small_page_s: added to each row when small pages exceed the translation buffers.
    """

    row_s: float
    line_s: float
    latency_s: float
    read_bytes_per_s: float
    write_bytes_per_s: float
    stream_bytes_per_s: float
    shared_bytes_per_s: float = float("inf")
    small_page_s: float = 0.0


LEVELS = {
    "l1d": Level(0.8e-9, 0.3e-9, 1.6e-9, 100e9, 60e9, 8e9),
    "l2": Level(0.8e-9, 0.6e-9, 5e-9, 60e9, 35e9, 8e9),
    "l3": Level(2e-9, 2e-9, 25e-9, 25e9, 15e9, 8e9, 400e9, 3e-9),
    "ram": Level(8e-9, 7e-9, 110e-9, 12e9, 8e9, 10e9, 100e9, 20e-9),
}


def level_of(name: str) -> Level:
    """The speeds of a level by name; caches beyond the third are taken for a third."""
    return LEVELS.get(name, LEVELS["l3"])


def modelled_curves(name: str, cores: int, row_bytes: tuple[int, ...] = ROW_BYTES) -> tuple[Curve, ...]:
    """Curves of the level `name` for one core and for `cores` of them at once."""
    curves: list[Curve] = []
    for active in sorted({1, max(1, cores)}):
        for page in get_args(Page):
            curves += _curves(level_of(name), active, page, row_bytes)
    return tuple(curves)


def _curves(level: Level, active: int, page: Page, row_bytes: tuple[int, ...]) -> list[Curve]:
    def crowded(seconds: float, nbytes: float) -> float:
        return max(seconds, active * nbytes / level.shared_bytes_per_s)

    curves = []
    for size in row_bytes:
        # Rows that are not whole lines begin anywhere in one.
        lines = size / 64 if size % 64 == 0 else 1 + (size - 1) / 64
        seconds = level.row_s + lines * level.line_s + (level.small_page_s if page == "4k" else 0.0)
        gather = crowded(seconds, lines * 64)
        curves.append(Curve("reader", size, active, page, gather))
        curves.append(Curve("gather", size, active, page, gather))
        curves.append(Curve("copy", size, active, page, gather + size / LEVELS["l2"].write_bytes_per_s))
    curves.append(Curve("read", 0, active, page, crowded(1 / level.read_bytes_per_s, 1)))
    curves.append(Curve("write", 0, active, page, crowded(1 / level.write_bytes_per_s, 1)))
    curves.append(Curve("stream_write", 0, active, page, crowded(1 / level.stream_bytes_per_s, 1)))
    curves.append(Curve("latency", 0, active, page, level.latency_s + (level.small_page_s if page == "4k" else 0.0)))
    return curves
