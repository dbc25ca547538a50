"""Times the parts of a plan, each alone, beside what the cost model expects of the same part alone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from recsmith import api
from recsmith.calibration.whole import batches_from_far
from recsmith.cost import COSTS
from recsmith.executor.folded_rows import folded_rows
from recsmith.planner.evaluate import Priced, Pricer
from recsmith.platforms.affinity import caller_on
from recsmith.representations import seen
from recsmith.representations.folding import cut
from recsmith.spec import Estimate, Executable, Jagged, Measurement, Model, Plan, Platform, Progress, Weights
from recsmith.spec.check import check_origin

from .parts import Part, largest, of_core, of_table, weights_of

_SECONDS = 0.12  # for each part
_LEAST_RUNS = 15


@dataclass(frozen=True, slots=True)
class Seen:
    """One part, predicted and measured under the same conditions."""

    predicted: Estimate
    measured: Measurement


@dataclass(frozen=True, slots=True)
class Observed:
    """Table name and core id to what was seen. Computed tables, and cores that share partial sums, are left out."""

    tables: Mapping[str, Seen]
    cores: Mapping[str, Seen]


def observe(
    model: Model,
    weights: Weights,
    made: Plan,
    platform: Platform,
    progress: Progress | None = None,
) -> Observed:
    """Run every table and every core's share of one batch of the largest workload alone.

    A table's time is that of a call that looks up nothing else; a core's is that of calls that look up what it
    serves, one call for each share of the batch. The predictions are for the same calls.
    """
    halves = _halves(model, weights, made, platform)
    every = [(half, table.name) for half in halves for table in half.model.tables if table.name in half.weights.tables]
    ids = dict.fromkeys(core for half in halves for core in half.plan.bucket(largest(half.plan).batch).cores)
    tables, cores = {}, {}
    for at, (half, table) in enumerate(every):
        part = of_table(half.model, platform, largest(half.plan), half.plan, table)
        tables[table] = Seen(_price(part).total, _time(part, half.weights))
        if progress:
            progress("timing tables and cores", at + 1, len(every) + len(ids))
    for at, core in enumerate(ids):
        shares = [of_core(half.model, platform, largest(half.plan), half.plan, core) for half in halves]
        if None not in shares and len(every) == sum(len(half.model.tables) for half in halves):
            parts = [(part, half.weights) for own, half in zip(shares, halves, strict=True) for part in own or ()]
            cores[core] = _core(parts, core, platform)
        if progress:
            progress("timing tables and cores", len(every) + at + 1, len(every) + len(ids))
    return Observed(tables, cores)


class _Half(NamedTuple):
    """A model that is looked up by one plan."""

    model: Model
    plan: Plan
    weights: Weights


def _halves(model: Model, weights: Weights, made: Plan, platform: Platform) -> list[_Half]:
    """The model; or what is not folded, and what is, with its rows."""
    found = [_Half(part, plan, weights) for part, plan in seen(model, made)]
    for part, plan, _ in found:
        check_origin(plan, api.problem(part, platform, plan.objective))
    if made.fold is not None:
        rows = folded_rows(model, cut(model, made.fold.features), weights, made.fold.sums, platform, "huge", None)
        found[1] = found[1]._replace(weights=rows)
    return found


def _core(parts: Sequence[tuple[Part, Weights]], core: str, platform: Platform) -> Seen:
    with caller_on(platform.core(core).index):
        times = [_time(part, weights) for part, weights in parts]
    totals = [_price(part).total for part, _ in parts]
    added = Measurement(
        sum(time.seconds for time in times),
        sum(time.q1_s for time in times),
        sum(time.q3_s for time in times),
        min(time.runs for time in times),
        times[0].cache,
    )
    seconds = sum(total.seconds for total in totals)
    return Seen(Estimate(seconds, {"calls": seconds}, totals[0].source), added)


def _price(part: Part) -> Priced:
    return Pricer(part.problem, api.strategies(), COSTS["fitted"]()).price(part.bucket, part.workload)


def _time(part: Part, weights: Weights) -> Measurement:
    batches = batches_from_far(part.problem.model, part.workload)
    with api.compile(
        part.problem.model, part.plan, weights_of(part, weights), platform=part.problem.platform
    ) as engine:
        q1, median, q3 = np.percentile(seconds_R := _samples_s(engine, batches), [25, 50, 75])
        return Measurement(float(median), float(q1), float(q3), len(seconds_R), "warm")


def _samples_s(engine: Executable, batches: list[Jagged]) -> np.ndarray:
    out = np.empty((batches[0].batch, engine.lookup(batches[0]).pooled.shape[1]), np.float32)
    for ids in batches[:8]:
        engine.lookup(ids, out)
    found: list[float] = []
    began = time.perf_counter()
    while len(found) < _LEAST_RUNS or time.perf_counter() - began < _SECONDS:
        ids = batches[len(found) % len(batches)]
        start = time.perf_counter()
        engine.lookup(ids, out)
        found.append(time.perf_counter() - start)
    return np.array(found)
