"""What readers yield: samples by column, as they stand in the file.

Legend: S samples, L ids, D dense inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import InputError

BadRows = Literal["error", "skip"]


@dataclass(slots=True)
class Tally:
    """What a reader met on its way; it counts up while the samples stream by.

    Attributes:
        bad_rows: what to do with a row that cannot be read: `error` raises, `skip` leaves it out and counts.
        samples: samples handed on.
        skipped: bad rows left out.
        first_bad: where and why the first one was bad.
        unseen: feature to ids that its vocabulary lacks and its policy replaced.
    """

    bad_rows: BadRows = "error"
    samples: int = 0
    skipped: int = 0
    first_bad: str = ""
    unseen: Counter[str] = field(default_factory=Counter)

    def bad(self, where: str, why: str) -> None:
        """Count a bad row.

        Raises:
            InputError: bad rows are errors.
        """
        if self.bad_rows == "error":
            raise InputError("read", f"{where}: {why}", "Correct the row, or skip bad rows (--bad-rows skip).")
        self.first_bad = self.first_bad or f"{where}: {why}"
        self.skipped += 1


@dataclass(frozen=True, slots=True)
class Column:
    """One feature's raw ids.

    Attributes:
        values: [L] int64, or text for vocabulary ids.
        offsets: [S + 1] int64, starting at 0; None means one id a sample.
        weights: [L] float32, or None.
    """

    values: NDArray[Any]
    offsets: NDArray[np.int64] | None = None
    weights: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.values) if self.offsets is None else len(self.offsets) - 1

    def part(self, start: int, stop: int) -> Column:
        """Samples [start, stop)."""
        if self.offsets is None:
            low, high, offsets = start, stop, None
        else:
            low, high = int(self.offsets[start]), int(self.offsets[stop])
            offsets = self.offsets[start : stop + 1] - low
        return Column(self.values[low:high], offsets, None if self.weights is None else self.weights[low:high])

    def take(self, at_S: NDArray[np.integer]) -> Column:
        """The samples at these positions, in this order."""
        if self.offsets is None:
            return Column(self.values[at_S], None, None if self.weights is None else self.weights[at_S])
        lengths_S = self.lengths[at_S]
        within_L = np.arange(int(lengths_S.sum())) - np.repeat(np.cumsum(lengths_S) - lengths_S, lengths_S)
        at_L = np.repeat(self.offsets[at_S], lengths_S) + within_L
        weights = None if self.weights is None else self.weights[at_L]
        return Column(self.values[at_L], offsets_of(lengths_S), weights)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[S] ids in each bag."""
        return np.ones(len(self.values), np.int64) if self.offsets is None else np.diff(self.offsets)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Column:
        """The samples of all parts, in order."""
        values = np.concatenate([part.values for part in parts])
        weights = None
        if all(part.weights is not None for part in parts):
            weights = np.concatenate([part.weights for part in parts if part.weights is not None])
        if all(part.offsets is None for part in parts):
            return cls(values, None, weights)
        return cls(values, offsets_of(np.concatenate([part.lengths for part in parts])), weights)


def offsets_of(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """[S + 1] offsets of bags of these lengths."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Rows:
    """Some samples.

    Attributes:
        columns: by name; at least those the model's features need.
        dense: [S, D] float32, or None.
        labels: [S] float32, or None.
        positional: whether columns stand for features by position when the names do not agree.
    """

    columns: dict[str, Column]
    dense: NDArray[np.float32] | None = None
    labels: NDArray[np.float32] | None = None
    positional: bool = False

    def __len__(self) -> int:
        if self.dense is not None:
            return len(self.dense)
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def part(self, start: int, stop: int) -> Rows:
        """Samples [start, stop)."""
        return Rows(
            {name: column.part(start, stop) for name, column in self.columns.items()},
            None if self.dense is None else self.dense[start:stop],
            None if self.labels is None else self.labels[start:stop],
            self.positional,
        )

    def take(self, at_S: NDArray[np.integer]) -> Rows:
        """The samples at these positions, in this order."""
        return Rows(
            {name: column.take(at_S) for name, column in self.columns.items()},
            None if self.dense is None else self.dense[at_S],
            None if self.labels is None else self.labels[at_S],
            self.positional,
        )

    @classmethod
    def join(cls, parts: Sequence[Rows]) -> Rows:
        """The samples of all parts, in order."""
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        return cls(
            {name: Column.join([part.columns[name] for part in parts]) for name in first.columns},
            None if first.dense is None else np.concatenate([p.dense for p in parts if p.dense is not None]),
            None if first.labels is None else np.concatenate([p.labels for p in parts if p.labels is not None]),
            first.positional,
        )
