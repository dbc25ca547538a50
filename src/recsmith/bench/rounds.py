"""Interleaved timing: everything once a round, in rotating order, every call on a batch of its own."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from recsmith.spec import Jagged, Measurement, Progress

from .engine import Engine

# Other engines' threads go to sleep in this time, so that they do not run beside the one that is timed.
_SETTLE_S = 0.01
_TRIAL_CALLS = 8
_MOST_CALLS = 4096

Sampler = Callable[[], float]


class Activated(Protocol):
    """What has settings of its own."""

    def activate(self) -> None:
        """Set them."""

    def deactivate(self) -> None:
        """Put them back."""


@dataclass(slots=True)
class Pool:
    """Batches handed out one after the other, so that none is used twice before all are used once."""

    batches: Sequence[Jagged]
    used: int = 0

    def take(self, count: int) -> list[Jagged]:
        """The next `count` batches."""
        taken = [self.batches[(self.used + i) % len(self.batches)] for i in range(count)]
        self.used += count
        return taken


def calls_per_sample(engine: Engine, pool: Pool, sample_s: float) -> int:
    """How many calls take about `sample_s` together."""
    with active(engine):
        seconds = [timed(engine, pool, 1) for _ in range(_TRIAL_CALLS)]
    return max(1, min(_MOST_CALLS, math.ceil(sample_s / min(seconds))))


def warm_up_calls(calls: int) -> int:
    """Untimed calls before a sample of `calls`: they wake the engine's threads and load its code."""
    return 1 + calls // 8


def sampler(engine: Engine, pool: Pool, calls: int) -> Sampler:
    """What yields seconds a call, `calls` calls timed together."""

    def sample() -> float:
        time.sleep(_SETTLE_S)
        with active(engine):
            timed(engine, pool, warm_up_calls(calls))
            return timed(engine, pool, calls) / calls

    return sample


def timed(engine: Engine, pool: Pool, calls: int) -> float:
    """Seconds of `calls` calls; batches are brought into the engine's form before the clock starts."""
    prepared = [engine.prepare(ids) for ids in pool.take(calls)]
    call, clock = engine.call, time.perf_counter
    start = clock()
    for item in prepared:
        call(item)
    return clock() - start


@contextmanager
def active(engine: Activated) -> Iterator[None]:
    """The process set as the engine wants it."""
    engine.activate()
    try:
        yield
    finally:
        engine.deactivate()


def interleaved(
    samplers: Mapping[str, Sampler],
    rounds: int,
    progress: Progress | None = None,
    before_round: Callable[[], object] | None = None,
) -> dict[str, list[float]]:
    """Each sampler's yield, one number a round."""
    found: dict[str, list[float]] = {name: [] for name in samplers}
    names = list(samplers)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(rounds):
            if before_round:
                before_round()
            for step in range(len(names)):
                name = names[(turn + step) % len(names)]
                found[name].append(samplers[name]())
            gc.collect()
            if progress:
                progress("measuring", turn + 1, rounds)
    finally:
        if collecting:
            gc.enable()
    return found


def measurement(seconds: Sequence[float]) -> Measurement:
    """Median and quartiles of the samples."""
    ordered = sorted(seconds)
    return Measurement(quantile(ordered, 0.5), quantile(ordered, 0.25), quantile(ordered, 0.75), len(ordered))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the sorted numbers lie, interpolated."""
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])
