"""What requests leave in a cache: lines, and how often each is asked for (ours).

Shapes: G classes of lines that are equally popular.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Popularity

_ALIGNMENT_BYTES = 4

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Footprint:
    """The lines behind one kind of request.

    Attributes:
        share_G: part of the look-ups that fall in each class; adds up to one.
        bytes_G: bytes of all lines of the class.
        rate_G: how often a line of the class is touched by one look-up, on average.
    """

    share_G: Floats
    bytes_G: Floats
    rate_G: Floats


@lru_cache(maxsize=4096)
def footprint(popularity: Popularity, row_bytes: int, line_bytes: int) -> Footprint:
    """Lines and rates of rows of `row_bytes` that are asked for as `popularity` says.

    Rows are rounded up to lines. Where several rows lie in one line, a hot row brings its neighbours along:
    with `n` of `N` scattered rows in cache, `lines * (1 - (1 - n / N) ** k)` lines are, k rows to a line.
    """
    rows_G = np.array([group.rows for group in popularity.classes])
    share_G = np.array([group.share for group in popularity.classes])
    per_row = lines_per_row(row_bytes, line_bytes)
    total_lines = max(rows_G.sum() * row_bytes / line_bytes, 1.0)
    reach = np.minimum(np.cumsum(rows_G) / rows_G.sum(), 1.0)
    covered = total_lines * (1 - (1 - reach) ** (per_row * rows_G.sum() / total_lines))
    lines_G = np.maximum(np.diff(covered, prepend=0.0), 1e-9)
    return Footprint(share_G, lines_G * line_bytes, share_G * per_row / lines_G)


def lines_per_row(row_bytes: int, line_bytes: int) -> float:
    """Lines that reading one row touches, on average over the places where rows start."""
    if row_bytes % line_bytes == 0 or line_bytes % row_bytes == 0:
        return float(-(-row_bytes // line_bytes))
    return 1 + (row_bytes - _ALIGNMENT_BYTES) / line_bytes
