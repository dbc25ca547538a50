"""Interleaved timing: everything once a round, in rotating order, every call on a batch of its own."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from recsmith.spec import Jagged, Measurement, Progress

from . import process
from .engine import Engine

Name = TypeVar("Name", bound=Hashable)

# Other engines' threads go to sleep in this time, so that they do not run beside the one that is timed.
_SETTLE_S = 0.01
_TRIALS = 8
_ATTEMPTS = 12
# Share of a sample that its threads may have waited for a processor.
_MOST_WAITED = 0.01
_MOST_CALLS = 1024


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
    calls = 1
    with active(engine):
        run(engine, pool, 1)
        while True:
            least_s = max(1e-9, min(run(engine, pool, calls).seconds for _ in range(_TRIALS)))
            wanted = max(1, min(_MOST_CALLS, math.ceil(calls * sample_s / least_s)))
            # A guess from far fewer calls is off: they are dearer alone than in a row.
            if wanted <= 2 * calls:
                return wanted
            calls = min(wanted, 8 * calls)


def batches_needed(calls: Mapping[str, int], rounds: int) -> int:
    """Batches for all samples of a run, with as many again for those that are taken twice."""
    return 2 * rounds * sum(count + warm_up_calls(count) for count in calls.values())


def warm_up_calls(calls: int) -> int:
    """Untimed calls before a sample of `calls`: they wake the engine's threads and load its code.

    Half as long as the sample: on virtual machines a processor that sleeps can take a millisecond to come back.
    """
    return 1 + calls // 2


class Sampler:
    """Yields seconds a call, `calls` calls timed together.

    A sample during which the engine's threads had to wait for a processor says more about other processes than
    about the engine: it is taken again, and the least disturbed one counts. The same for all engines.

    Attributes:
        calls: timed together in one sample.
        disturbed: samples that count although they were disturbed.
    """

    def __init__(self, engine: Engine, pool: Pool, calls: int) -> None:
        self._engine, self._pool, self.calls = engine, pool, calls
        self.disturbed = 0

    def __call__(self) -> float:
        """One sample."""
        best, least = 0.0, math.inf
        for _ in range(_ATTEMPTS):
            time.sleep(_SETTLE_S)
            with active(self._engine):
                run(self._engine, self._pool, warm_up_calls(self.calls))
                sample = run(self._engine, self._pool, self.calls)
            if sample.waited < least:
                best, least = sample.seconds / self.calls, sample.waited
            if least <= _MOST_WAITED:
                return best
        self.disturbed += 1
        return best


@dataclass(frozen=True, slots=True)
class Run:
    """Some calls, timed together; `waited` is the share of the time that threads waited for a processor."""

    seconds: float
    waited: float


def run(engine: Engine, pool: Pool, calls: int) -> Run:
    """`calls` calls; batches are brought into the engine's form before the clock starts."""
    prepared = [engine.prepare(ids) for ids in pool.take(calls)]
    call, clock = engine.call, time.perf_counter
    waited_s = process.waited_s()
    start = clock()
    for item in prepared:
        call(item)
    seconds = clock() - start
    return Run(seconds, (process.waited_s() - waited_s) / seconds)


@contextmanager
def active(engine: Activated) -> Iterator[None]:
    """The process set as the engine wants it."""
    engine.activate()
    try:
        yield
    finally:
        engine.deactivate()


def interleaved(
    samplers: Mapping[Name, Callable[[], float]],
    rounds: int,
    progress: Progress | None = None,
    before_round: Callable[[], object] | None = None,
) -> dict[Name, list[float]]:
    """Each sampler's yield, one number a round."""
    found: dict[Name, list[float]] = {name: [] for name in samplers}
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
