"""Executables timed in turns of changing order, and what the times say (ours)."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from statistics import median

import numpy as np

from recsmith.spec import Executable, Jagged

Serve = Callable[[Executable, Jagged], None]

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
