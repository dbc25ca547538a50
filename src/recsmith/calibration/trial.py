"""Repeats a timing until it can be believed. Rounds in which the machine did something else are left out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

Table = Sequence[Sequence[float]]
Timed = tuple[Table, Table]
"""[rounds][cores] seconds: by the clock, and of real work."""

# A core that lost this part of a round to others did not measure what it should have.
_LOST = 0.03
_STEADY = 0.1
_TRIES = 4


@dataclass(frozen=True)
class Sample:
    """What repeated rounds said.

    Attributes:
        median_s, iqr_s: over the rounds, of the mean of the cores.
        rounds: how many undisturbed ones.
        disturbed: whether there were none, so that disturbed ones (their working time) had to do.
    """

    median_s: float
    iqr_s: float
    rounds: int
    disturbed: bool = False

    @property
    def steady(self) -> bool:
        """Whether the spread is small beside the median."""
        return not self.disturbed and self.iqr_s <= _STEADY * self.median_s

    def per(self, units: float) -> Sample:
        """The same for one of `units`."""
        return Sample(self.median_s / units, self.iqr_s / units, self.rounds, self.disturbed)


@dataclass
class Clock:
    """The time left for measuring.

    Attributes:
        budget_s: seconds in all, from `start_s` on.
        disturbed: trials without a single undisturbed round.
        trials: all trials.
        done: part of the work that is finished, 0 to 1; whoever does the work keeps it.
    """

    budget_s: float
    start_s: float = field(default_factory=time.perf_counter)
    disturbed: int = 0
    trials: int = 0
    done: float = 0.0

    @property
    def spent_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.start_s

    @property
    def behind(self) -> bool:
        """Whether more of the budget is spent than of the work is finished."""
        return self.spent_s > self.budget_s * max(self.done, 0.1)

    def count(self, sample: Sample) -> Sample:
        """`sample`, noted."""
        self.trials += 1
        self.disturbed += sample.disturbed
        return sample


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile, interpolated."""
    ordered = sorted(values)

    def at(part: float) -> float:
        place = part * (len(ordered) - 1)
        low = math.floor(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (place - low) * (ordered[high] - ordered[low])

    return at(0.25), at(0.5), at(0.75)


def undisturbed(timed: Timed) -> list[float]:
    """Seconds (the mean of the cores) of the rounds in which each core worked all the time."""
    wall, busy = timed
    return [
        sum(elapsed) / len(elapsed)
        for elapsed, worked in zip(wall, busy, strict=True)
        if all(w >= (1 - _LOST) * e for e, w in zip(elapsed, worked, strict=True))
    ]


def repeat(run: Callable[[int], Timed], rounds: int, *, agree: bool = True) -> Sample:
    """Time `rounds` rounds until as many were undisturbed and agree, four times at most.

    Args:
        run: times so many rounds.
        agree: False stops at the first undisturbed round.
    """
    limit = _TRIES * rounds
    good: list[float] = []
    worked: list[float] = []
    tried = 0
    while tried < limit:
        timed = run(rounds)
        tried += rounds
        good += undisturbed(timed)
        worked += [sum(busy) / len(busy) for busy in timed[1]]
        if good and (not agree or (len(good) >= rounds and _sample(good).steady)):
            break
    if good:
        return _sample(good)
    low, _, high = quartiles(worked)
    return Sample(median(worked), high - low, 0, disturbed=True)


def _sample(values: Sequence[float]) -> Sample:
    low, middle, high = quartiles(values)
    return Sample(middle, high - low, len(values))
