"""How look-ups spread over a table's rows: the one fact about ids that caches care for."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Self

from .record import Record

_CLASSES_PER_DECADE = 4


class PopularityClass(Record, frozen=True):
    """`rows` rows that are equally popular and together take `share` of all look-ups."""

    rows: float
    share: float


class Popularity(Record, frozen=True):
    """A histogram of row popularity, most popular class first; the shares add up to one."""

    classes: tuple[PopularityClass, ...]

    @classmethod
    def uniform(cls, rows: int) -> Self:
        """Every row equally likely."""
        return cls((PopularityClass(float(rows), 1.0),))

    @classmethod
    def fixed(cls) -> Self:
        """Every look-up asks for the same row."""
        return cls((PopularityClass(1.0, 1.0),))

    @classmethod
    def zipf(cls, rows: int, alpha: float) -> Self:
        """Row of rank r is asked for with probability close to r ** -alpha (the continuous law, truncated).

        The mass of ranks [a, b) is that of the interval [a, b) under the density x ** -alpha on [1, rows + 1),
        which is exactly what `recsmith.data.synthetic` draws from.
        """
        steps = max(1, math.ceil(math.log10(rows + 1) * _CLASSES_PER_DECADE))
        edges = sorted({round((rows + 1) ** (i / steps)) for i in range(steps + 1)} | {1, rows + 1})
        total = _zipf_mass(1, rows + 1, alpha)
        return cls(tuple(PopularityClass(float(b - a), _zipf_mass(a, b, alpha) / total) for a, b in pairwise(edges)))

    @classmethod
    def from_counts(cls, counts: list[int]) -> Self:
        """The histogram of rows that were seen `counts` times each, in any order; rows never seen are left out."""
        seen = sorted((count for count in counts if count > 0), reverse=True)
        total = sum(seen)
        classes, start = [], 0
        while start < len(seen):
            stop = min(len(seen), math.ceil((start + 1) * 10 ** (1 / _CLASSES_PER_DECADE)))
            classes.append(PopularityClass(float(stop - start), sum(seen[start:stop]) / total))
            start = stop
        return cls(tuple(classes))

    @property
    def rows(self) -> float:
        """Rows that are ever asked for."""
        return sum(group.rows for group in self.classes)

    def distinct(self, lookups: float, beyond: float = 0.0) -> float:
        """Expected number of different rows among `lookups` independent draws.

        Args:
            beyond: so many of the most popular rows are not counted.
        """
        found = 0.0
        for group in self.classes:
            kept = min(beyond, group.rows)
            beyond -= kept
            found += (group.rows - kept) * -math.expm1(-lookups * group.share / group.rows)
        return found

    def share(self, rows: float) -> float:
        """The part of all look-ups that goes to the `rows` most popular rows."""
        found = 0.0
        for group in self.classes:
            kept = min(rows, group.rows)
            rows -= kept
            found += kept * group.share / group.rows
        return found


def _zipf_mass(a: float, b: float, alpha: float) -> float:
    if abs(alpha - 1.0) < 1e-9:
        return math.log(b / a)
    return float((a ** (1 - alpha) - b ** (1 - alpha)) / (alpha - 1))
