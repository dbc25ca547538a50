"""Times the parts of a plan, each alone, beside what the cost model expects of the same part alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recsmith import api
from recsmith.cost import COSTS
from recsmith.data import synthetic
from recsmith.planner.evaluate import Priced, Pricer
from recsmith.platforms.affinity import caller_on
from recsmith.spec import Estimate, Executable, Jagged, Measurement, Model, Plan, Platform, Progress, Weights, Workload

from .parts import Part, of_core, of_table, weights_of

_POOL = 64  # batches of ids to take turns with
_SECONDS = 0.12  # for each part
_LEAST_RUNS = 15


@dataclass(frozen=True, slots=True)
class Seen:
    """One part, predicted and measured under the same conditions."""

    predicted: Estimate
    measured: Measurement


@dataclass(frozen=True, slots=True)
class Observed:
    """Table name and core id to what was seen. Cores that share partial sums are left out."""

    tables: Mapping[str, Seen]
    cores: Mapping[str, Seen]


def observe(
    model: Model,
    weights: Weights,
    made: Plan,
    platform: Platform,
    workload: Workload,
    progress: Progress | None = None,
) -> Observed:
    """Run every table and every core's share of one batch alone.

    A table's time is that of a call that looks up nothing else; a core's is that of calls that look up what it
    serves, one call for each share of the batch. The predictions are for the same calls.
    """
    tables, cores = {}, {}
    names, ids = [table.name for table in model.tables], list(made.bucket(workload.batch).cores)
    for at, table in enumerate(names):
        part = of_table(model, platform, workload, made, table)
        tables[table] = Seen(_price(part).total, _time(part, weights))
        if progress:
            progress("timing tables and cores", at + 1, len(names) + len(ids))
    for at, core in enumerate(ids):
        parts = of_core(model, platform, workload, made, core)
        if parts:
            cores[core] = _core(parts, weights, core, platform)
        if progress:
            progress("timing tables and cores", len(names) + at + 1, len(names) + len(ids))
    return Observed(tables, cores)


def _core(parts: tuple[Part, ...], weights: Weights, core: str, platform: Platform) -> Seen:
    with caller_on(platform.core(core).index):
        times = [_time(part, weights) for part in parts]
    totals = [_price(part).total for part in parts]
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
    batches = synthetic.batches(part.problem.model, part.workload, _POOL)
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
