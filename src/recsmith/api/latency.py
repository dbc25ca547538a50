"""How long queries of each size take by a plan: measured on this machine, modelled on others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from recsmith.cost.computing import Computing
from recsmith.data.asked import hottest
from recsmith.data.store import Store
from recsmith.spec import Batch, Latency, Model, Plan, Platform, Weights

from .compose import compile

_WARM_UPS = 3
_RUNS, _SECONDS = 30, 0.5  # each size runs this often, or at least `_FEWEST` times when that takes longer
_FEWEST = 7
_BATCHES = 8


def modelled(model: Model, made: Plan, machine: Platform) -> tuple[Latency, ...]:
    """Look-ups as the plan predicts them, MLPs and computed rows at the machine's peak.

    Raises:
        UnavailableError: the profile does not say how fast its cores compute.
    """
    computing = Computing(machine)
    found = []
    for workload, predicted in zip(made.objective.workloads, made.predicted, strict=True):
        seconds = predicted.total.seconds + computing.seconds(model, made.serving, workload).seconds
        found.append(Latency(workload.batch, seconds, seconds, seconds, "modelled"))
    return tuple(found)


def measured(
    model: Model, made: Plan, weights: Weights, machine: Platform, queries: Sequence[int], kept: Store
) -> tuple[Latency, ...]:
    """Whole predictions of samples that were held back, with as many threads as the machine has cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(len(machine.cores))
    try:
        profile = hottest(model, made.serving, kept)
        with compile(model, made, weights, platform=machine, **({"profile": profile} if profile else {})) as engine:
            return tuple(_timed(engine.run, query, kept) for query in queries)
    finally:
        torch.set_num_threads(threads)


def _timed(run: Callable[[Batch], object], query: int, kept: Store) -> Latency:
    batches = [_batch(kept, query, at) for at in range(_BATCHES)]
    for batch in batches[:_WARM_UPS]:
        run(batch)
    seconds: list[float] = []
    while len(seconds) < _FEWEST or (len(seconds) < _RUNS and sum(seconds) < _SECONDS):
        batch = batches[len(seconds) % _BATCHES]
        start = time.perf_counter()
        run(batch)
        seconds.append(time.perf_counter() - start)
    low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75])
    return Latency(query, float(middle), float(low), float(high), "measured")


def _batch(kept: Store, query: int, at: int) -> Batch:
    """The `at`-th `query` samples of those held back, from the first again when they run out."""
    first, last = kept.facts.training, kept.facts.samples
    positions = first + np.arange(at * query, (at + 1) * query) % (last - first)
    return kept.batch(positions)[0]
