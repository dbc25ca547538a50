"""Speeds of one memory between and beyond its measured points (ours)."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from msgspec.structs import replace

from recsmith.spec import Curve, Memory, RowDtype, RowFormat, UnavailableError
from recsmith.spec.platform import Page, Widening

from .footprint import lines_per_row

Point = tuple[float, float]

_BEYOND = 4
"""Rows spread over so many times the widest measured range cost as if over that: rising ends somewhere."""


class Speeds(Protocol):
    """What a memory's bytes cost one core."""

    def gather_s(self, row_bytes: int, active_cores: int, alone: float) -> float | None:
        """Seconds per random row of `row_bytes`, of which the part `alone` makes a vector; None when unknown."""

    def widened_s(self, row_bytes: int, active_cores: int, spread_bytes: float) -> float:
        """Seconds that such a row takes longer (less long, if below 0) when rows are spread over `spread_bytes`; 0 when
        unknown."""

    def decode_s(self, dtype: RowDtype, dim: int, alone: float) -> float:
        """Seconds that a row of `dim` elements takes longer than one of as many bytes in fp32; 0 when unknown."""

    def stream_s(self, access: str, active_cores: int) -> float | None:
        """Seconds per byte in order, for `read`, `write` or `stream_write`; None when nothing is known."""

    def columns_s(self, access: str, row_bytes: int, active_cores: int) -> float | None:
        """Seconds per byte of `write` or `stream_write` in pieces of `row_bytes` far apart; None when unknown."""

    def latency_s(self) -> float | None:
        """Seconds of one dependent load; None when unknown."""


class CurveSpeeds:
    """Measured points, interpolated.

    Between row sizes: seconds and bytes both on logarithmic scales. Beyond the largest row, in proportion to
    bytes; below the smallest, as the smallest. Between numbers of active cores: linear; beyond, as the last.
    Costs never fall as rows get longer or cores are added: noise only ever adds, so a later, cheaper point is the
    truer one.

    Args:
        memory: whose curves.
        page: pages behind the rows; where a memory was only measured with the other size, that is used.
    """

    def __init__(self, memory: Memory, page: Page) -> None:
        # Other row formats and batch sizes are measured by some profiles; these are what all have.
        plain = [c for c in memory.curves if c.dtype == "fp32" and c.batch == 0]
        self._gather = _rising(_by_cores([c for c in plain if c.access == "gather"], page))
        self._copy = _rising(_by_cores([c for c in plain if c.access == "copy"], page)) or self._gather
        self._encoded = [c for c in memory.curves if c.dtype != "fp32" and c.batch == 0 and c.active_cores == 1]
        self._line_bytes = memory.line_bytes
        self._widenings = [w for w in memory.widenings if w.page == page] or list(memory.widenings)
        self._order = {
            access: _by_cores([c for c in memory.curves if c.access == access and c.row_bytes == 0], page)
            for access in ("read", "write", "stream_write", "latency")
        }
        self._columns = {
            access: _by_cores([c for c in memory.curves if c.access == access and c.row_bytes > 0], page)
            for access in ("write", "stream_write")
        }

    def gather_s(self, row_bytes: int, active_cores: int, alone: float) -> float | None:
        """Seconds per random row and core, between that of long bags (`gather`) and of bags of one (`copy`).

        A row that may reach into one more line counts as so many more bytes.
        """
        lines = lines_per_row(row_bytes, self._line_bytes)
        nbytes = row_bytes if row_bytes < self._line_bytes and lines == 1 else lines * self._line_bytes
        bagged, copied = (
            _along_cores([(float(cores), _along_rows(curves, nbytes)) for cores, curves in grid], active_cores)
            for grid in (self._gather, self._copy)
        )
        if bagged is None or copied is None:
            return None
        return bagged + min(alone, 1.0) * (copied - bagged)

    def widened_s(self, row_bytes: int, active_cores: int, spread_bytes: float) -> float:
        """In proportion to the bytes beyond (or below) those of the curves; far beyond what was measured, no more.

        The row size and the number of cores are the nearest measured ones.
        """
        if not self._widenings:
            return 0.0

        def distance(widening: Widening) -> tuple[float, int]:
            return abs(math.log(widening.row_bytes / row_bytes)), abs(widening.active_cores - active_cores)

        nearest = min(self._widenings, key=distance)
        return nearest.slope * (min(spread_bytes, _BEYOND * nearest.wide_bytes) - nearest.narrow_bytes)

    def decode_s(self, dtype: RowDtype, dim: int, alone: float) -> float:
        """In proportion to the elements, from the curves of rows of that type with one core active."""
        extra = {"gather": 0.0, "copy": 0.0}
        for curve in self._encoded:
            if curve.dtype == dtype and curve.access in extra:
                plain = self.gather_s(curve.row_bytes, 1, float(curve.access == "copy")) or curve.seconds
                extra[curve.access] = max(0.0, curve.seconds - plain) / RowFormat(dtype).elements(curve.row_bytes)
        return dim * (extra["gather"] + min(alone, 1.0) * (extra["copy"] - extra["gather"]))

    def stream_s(self, access: str, active_cores: int) -> float | None:
        """Seconds per byte and core; writes past the caches default to ordinary ones."""
        points = [(float(cores), curves[0].seconds) for cores, curves in self._order[access]]
        if not points and access == "stream_write":
            return self.stream_s("write", active_cores)
        return _along_cores(points, active_cores)

    def columns_s(self, access: str, row_bytes: int, active_cores: int) -> float | None:
        """Seconds per byte and core; what writing in order costs where columns were not measured."""
        points = [(float(cores), _between_rows(curves, row_bytes)) for cores, curves in self._columns.get(access, [])]
        return _along_cores(points, active_cores) or self.stream_s(access, active_cores)

    def latency_s(self) -> float | None:
        """Seconds of one dependent load with one core active."""
        points = self._order["latency"]
        return points[0][1][0].seconds if points else None


def missing(memory: Memory, what: str) -> UnavailableError:
    """The error for a memory whose speed is asked for and unknown."""
    return UnavailableError(
        "cost",
        f"memory '{memory.id}' has no speed for {what}",
        "Measure the platform (recsmith measure), or add a curve to its profile.",
    )


def _by_cores(curves: Sequence[Curve], page: Page) -> list[tuple[int, list[Curve]]]:
    matching = [curve for curve in curves if curve.page == page] or list(curves)
    grouped: dict[int, list[Curve]] = defaultdict(list)
    for curve in matching:
        grouped[curve.active_cores].append(curve)
    return [(cores, sorted(grouped[cores], key=lambda c: c.row_bytes)) for cores in sorted(grouped)]


def _rising(grid: list[tuple[int, list[Curve]]]) -> list[tuple[int, list[Curve]]]:
    """No row dearer than a longer one."""
    return [
        (cores, [replace(curve, seconds=min(c.seconds for c in curves[at:])) for at, curve in enumerate(curves)])
        for cores, curves in grid
    ]


def _along_rows(curves: Sequence[Curve], row_bytes: float) -> float:
    sizes = [curve.row_bytes for curve in curves]
    at = bisect_left(sizes, row_bytes)
    if at == 0:
        return curves[0].seconds
    if at == len(sizes):
        return curves[-1].seconds * row_bytes / sizes[-1]
    low, high = curves[at - 1], curves[at]
    part = math.log(row_bytes / low.row_bytes) / math.log(high.row_bytes / low.row_bytes)
    return math.exp((1 - part) * math.log(low.seconds) + part * math.log(high.seconds))


def _between_rows(curves: Sequence[Curve], row_bytes: int) -> float:
    """The same for seconds a byte, which do not grow beyond the largest row."""
    return _along_rows(curves, min(row_bytes, curves[-1].row_bytes))


def _along_cores(points: Sequence[Point], active_cores: int) -> float | None:
    if not points:
        return None
    rising = [(cores, min(seconds for _, seconds in points[at:])) for at, (cores, _) in enumerate(points)]
    if active_cores <= rising[0][0]:
        return rising[0][1]
    for (a, low), (b, high) in pairwise(rising):
        if active_cores <= b:
            return low + (high - low) * (active_cores - a) / (b - a)
    return rising[-1][1]
