"""Executables timed in turns of changing order, and what the times say (ours)."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from random import Random
from statistics import median

import numpy as np

from recsmith.planner.evaluate import aim
from recsmith.spec import Executable, Jagged, Objective

Serve = Callable[[Executable, Jagged], None]

WORTH_IT = 0.03
"""What was chosen stays unless it takes this much longer than something else, and certainly longer."""
_FINAL = 24
"""Rounds in each spell of a final."""
_SPELLS, _REST_S = 2, 0.7
"""Spells of a final and the seconds between them: where other guests share the processors, one of them may be slow
for a second, and whoever was timed in that second would be chosen for it."""
_TRY_S = 1.2e-3
_DRAWS = 4000


def looked_up(executable: Executable, ids: Jagged) -> None:
    """A look-up of the ids."""
    executable.lookup(ids)


class Turns:
    """Everybody's seconds a call, one number a round; in a round nobody always follows the same one.

    Each goes on for a while before it counts, until all its cores are awake.

    Attributes:
        spent: of each executable, its rounds so far.
    """

    def __init__(self, executables: Sequence[Executable], pool: Sequence[Jagged], serve: Serve = looked_up) -> None:
        self._executables, self._serve = executables, serve
        self._ids = itertools.cycle(pool)
        self._calls = [max(2, math.ceil(_TRY_S / self._time(each, 3))) for each in executables]
        self._random = Random(0)
        self.spent: list[list[float]] = [[] for _ in executables]

    def go(self, rounds: int, among: Iterable[int] | None = None) -> None:
        """Time some (or all) of the executables for some more rounds."""
        order = list(range(len(self._executables)) if among is None else among)
        for _ in range(rounds):
            self._random.shuffle(order)
            for at in order:
                self._time(self._executables[at], self._calls[at])
                self.spent[at].append(self._time(self._executables[at], self._calls[at]))

    def _time(self, executable: Executable, calls: int) -> float:
        start = time.perf_counter()
        for ids in itertools.islice(self._ids, calls):
            self._serve(executable, ids)
        return (time.perf_counter() - start) / calls


def final(races: Collection[Turns], among: Iterable[int] | None = None) -> None:
    """The rounds that decide between some (or all) of the executables, in spells of time that lie apart."""
    order = None if among is None else list(among)
    for spell in range(_SPELLS):
        time.sleep(_REST_S if spell else 0.0)
        for race in races:
            race.go(_FINAL, order)


def by_aim(races: Mapping[str, Turns], objective: Objective, at: int) -> list[float]:
    """The objective's aim of executable `at` in each round, from its seconds by name of the workload."""
    rounds = zip(*(race.spent[at] for race in races.values()), strict=True)
    return [aim(objective, dict(zip(races, seconds, strict=True))) for seconds in rounds]


def settled(seconds: Mapping[str, Sequence[float]], chosen: str) -> str:
    """The one to take: the fastest, if `chosen` is slower by more than chance. Who has fewer rounds is out."""
    longest = max(map(len, seconds.values()))
    best, (slower, at_least, _) = compared({n: s for n, s in seconds.items() if len(s) == longest}, chosen)
    return best if slower > WORTH_IT and at_least > 0 else chosen


def compared(
    seconds: Mapping[str, Sequence[float]], chosen: str, seed: int = 0
) -> tuple[str, tuple[float, float, float]]:
    """The fastest in the even rounds, and by how much `chosen` is slower in the odd ones: median, 95 % interval.

    Luck that made somebody the fastest does not count as speed: it is compared by other rounds than it was found by.

    Args:
        seconds: name to one time a round, taken in turns.
        seed: of the bootstrap.
    """
    best = min(seconds, key=lambda name: median(seconds[name][::2]))
    if best == chosen:
        return best, (0.0, 0.0, 0.0)
    ratios = np.asarray(seconds[chosen][1::2]) / np.asarray(seconds[best][1::2]) - 1
    drawn = np.random.default_rng(seed).choice(ratios, (_DRAWS, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
    return best, (float(np.median(ratios)), float(low), float(high))
