"""Engines of one case timed in turns, on batches of one pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from recsmith.data import synthetic
from recsmith.data.shapes import Shape
from recsmith.spec import Jagged, Workload

from . import process, rounds
from .engine import Engine

_TRIAL_BATCHES = 24
_MOST_ID_BYTES = 1 << 29
"""Of all pools of a run together: beyond that, ids come again, from main memory."""


class Timing(Protocol):
    """How long to time, as the options of benchmarks say it."""

    @property
    def threads(self) -> int:
        """Processors to pin threads to."""

    @property
    def rounds(self) -> int:
        """Samples of every engine."""

    @property
    def sample_s(self) -> float:
        """Least duration of one sample."""

    @property
    def seed(self) -> int:
        """Of the ids."""


@dataclass(frozen=True, slots=True)
class Turns:
    """What was seen.

    Attributes:
        seconds: engine to one time a round.
        placement: where threads were pinned.
    """

    seconds: dict[str, list[float]]
    samplers: dict[str, rounds.Sampler]
    placement: str


def trial_batches(shape: Shape, workload: Workload, timing: Timing) -> list[Jagged]:
    """A few batches to check engines with, and to see how long a call takes; others than those that are timed."""
    return synthetic.batches(shape.model, workload, _TRIAL_BATCHES, timing.seed + 1)


def in_turns(
    engines: Mapping[str, Engine], shape: Shape, workload: Workload, trial: Sequence[Jagged], timing: Timing
) -> Turns:
    """Every engine once a round, each call on a batch of its own as long as the pool lasts."""
    with process.Pins(timing.threads) as pins:
        timed = samplers(engines, shape, workload, trial, timing)
        return Turns(rounds.interleaved(timed, timing.rounds, before_round=pins.apply), timed, str(pins))


def samplers(
    engines: Mapping[str, Engine],
    shape: Shape,
    workload: Workload,
    trial: Sequence[Jagged],
    timing: Timing,
    others: int = 0,
) -> dict[str, rounds.Sampler]:
    """What times each engine, all on one pool of batches.

    Args:
        others: how many more pools will be there at the same time.
    """
    pool = rounds.Pool(trial)
    calls = {name: rounds.calls_per_sample(engine, pool, timing.sample_s) for name, engine in engines.items()}
    batch_bytes = 8 * workload.batch * shape.lookups_per_sample
    most = max(2, int(_MOST_ID_BYTES / (1 + others) / batch_bytes))
    needed = min(rounds.batches_needed(calls, timing.rounds), most)
    pool = rounds.Pool(synthetic.batches(shape.model, workload, needed, timing.seed))
    return {name: rounds.Sampler(engine, pool, calls[name]) for name, engine in engines.items()}
