"""Predicted against measured over a grid of cases, and what `auto` gains over `symmetric`.

The shapes are those of [ASYM] (papers.md A5), three of them stand-ins; each is asked with three distributions of ids
at several batch sizes. The machine is measured at the beginning of the run and again at its end, so that a machine
that changed meanwhile shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Any, Literal

import numpy as np

from recsmith.data import distributions, shapes
from recsmith.platforms import restrict
from recsmith.spec import Jagged, Objective, Plan, Platform, Progress, Record, Weights, Workload
from recsmith.spec.platform import Page

from . import expected, ours, process, records, rounds
from .engine import Setup
from .tables import SharedTables
from .turns import samplers, trial_batches

SHAPES = (
    "huawei_25MB_like_guess",
    "criteo_terabyte_10M",
    "avazu",
    "kuairec_big_84_guess",
    "taobao_ad",
    "tenrec_qb_article_guess",
)
LAWS = ("uniform", "zipf:1.05", "fixed")
BATCHES = (128, 512, 2048)
PLANNERS = ("auto", "symmetric")
_SPELLS = 3

Measure = Callable[[Platform], Platform]


class PredictionOptions(Record, frozen=True):
    """The grid.

    Attributes:
        max_bytes: row cap for shapes that would take more.
        rest_s: between the spells in which a shape's rounds are taken: a shared machine may be slow for seconds.
    """

    shapes: tuple[str, ...] = SHAPES
    ids: tuple[str, ...] = LAWS
    batches: tuple[int, ...] = BATCHES
    threads: int = 2
    pages: Page = "huge"
    max_bytes: int = 8_000_000_000
    rounds: int = 15
    sample_s: float = 10e-3
    rest_s: float = 2.0
    seed: int = 0


class PlannerCase(Record, frozen=True):
    """One planner's plan in one case.

    Attributes:
        error: predicted over measured, less one.
        owned: features that one core serves for all samples while other cores work too.
        stored_error: the same for what a profile promised that was measured before this run.
    """

    planner: str
    plan_digest: str
    predicted_s: float
    measured_s: float
    q1_s: float
    q3_s: float
    error: float
    owned: int
    strategies: tuple[str, ...]
    stored_error: float | None = None


class PredictionCase(Record, frozen=True):
    """One shape, law and batch size.

    Attributes:
        auto_over_symmetric: measured medians; 1 exactly when both planners serve this batch in the same way, which was
            then measured once.
        asymmetric: whether `auto` gave some feature to one core alone.
    """

    workload: str
    ids: str
    batch: int
    planners: tuple[PlannerCase, ...]
    auto_over_symmetric: float
    same_plan: bool
    asymmetric: bool


class Drift(Record, frozen=True):
    """How curves measured at the end of the run differ from those at its beginning.

    Attributes:
        median_ratio: of end over beginning, over all curves.
        worst: the curve that changed most, in words, with its ratio.
    """

    curves: int
    median_ratio: float
    worst: str


class PredictionRecord(Record, frozen=True):
    """The result of the whole grid.

    Attributes:
        median_abs_error: median of |predicted / measured - 1| over all cases and planners.
        p95_abs_error: the error that one case in twenty exceeds.
        stored_median_abs_error, stored_p95_abs_error: the same with a profile that was measured before this run.
        worst_auto_over_symmetric: the largest of the ratios.
        gains: cases with an asymmetric plan, "workload/ids/batch", to symmetric's time over auto's.
    """

    run: records.Run
    cases: tuple[PredictionCase, ...]
    median_abs_error: float
    worst_auto_over_symmetric: float
    gains: dict[str, float]
    drift: Drift
    kind: Literal["prediction"] = "prediction"
    version: int = 1
    p95_abs_error: float | None = None
    stored_median_abs_error: float | None = None
    stored_p95_abs_error: float | None = None


def run_prediction_bench(
    options: PredictionOptions,
    machine: Platform,
    measure: Measure,
    progress: Progress | None = None,
    stored: Platform | None = None,
) -> PredictionRecord:
    """Plan, predict and measure every case of the grid.

    Args:
        machine: this machine, as probed.
        measure: yields it with curves measured now.
        stored: a profile of this machine that was measured before.
    """
    allocator = process.keep_freed_memory()
    before = restrict(measure(machine), options.threads)
    known = restrict(stored, options.threads) if stored else None
    cases: list[PredictionCase] = []
    placement = ""
    for name in options.shapes:
        shape = shapes.shape(name, max_bytes=options.max_bytes)
        tables = SharedTables(shape.model, options.pages, options.seed)
        found, placement = _cases_of(options, shape, tables, before, known)
        cases += found
        if progress:
            progress("predicting and measuring", len(cases), len(found) * len(options.shapes))
        del tables
    after = restrict(measure(machine), options.threads)
    run = records.Run(records.commit(), records.now(), machine.machine, options.threads, placement, allocator)
    made = [each for case in cases for each in case.planners]
    errors = [abs(each.error) for each in made]
    stored_errors = [abs(each.stored_error) for each in made if each.stored_error is not None]
    return PredictionRecord(
        run=run,
        cases=tuple(cases),
        median_abs_error=median(errors),
        worst_auto_over_symmetric=max(case.auto_over_symmetric for case in cases),
        gains={
            f"{case.workload}/{case.ids}/b{case.batch}": 1 / case.auto_over_symmetric
            for case in cases
            if case.asymmetric
        },
        drift=drift(before, after),
        p95_abs_error=float(np.quantile(errors, 0.95)),
        stored_median_abs_error=median(stored_errors) if stored_errors else None,
        stored_p95_abs_error=float(np.quantile(stored_errors, 0.95)) if stored_errors else None,
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """One law and batch size of a shape, planned and bound.

    Attributes:
        plans: by planner.
        engines: one for each planner; for `auto` alone when both serve this batch in the same way.
        trial: a few batches.
    """

    law: str
    workload: Workload
    plans: Mapping[str, Plan]
    engines: Mapping[str, Any]
    trial: Sequence[Jagged]


def _cases_of(
    options: PredictionOptions, shape: shapes.Shape, tables: SharedTables, machine: Platform, stored: Platform | None
) -> tuple[list[PredictionCase], str]:
    """All laws and batch sizes, timed in turns: when the machine is slow for a second, all have a bad round or two."""
    timed: dict[tuple[int, str], rounds.Sampler] = {}
    with ExitStack() as stack:
        cases = [
            _bound(options, shape, tables, law, batch, machine, stack)
            for law, batch in product(options.ids, options.batches)
        ]
        # Not before: executables choose their processors among those that their maker may use.
        with process.Pins(options.threads) as pins:
            for at, case in enumerate(cases):
                own = samplers(case.engines, shape, case.workload, case.trial, options, others=len(cases) - 1)
                timed.update({(at, name): sampler for name, sampler in own.items()})
            seconds = _in_spells(timed, options, pins)
    found = []
    for at, case in enumerate(cases):
        seen = {name: seconds[at, name] for name in case.engines}
        found.append(_case(shape, case, seen, stored))
    return found, str(pins)


def _in_spells(
    timed: Mapping[tuple[int, str], rounds.Sampler], options: PredictionOptions, pins: process.Pins
) -> dict[tuple[int, str], list[float]]:
    """All rounds, in `_SPELLS` spells."""
    seconds: dict[tuple[int, str], list[float]] = {name: [] for name in timed}
    for spell in range(_SPELLS):
        time.sleep(options.rest_s if spell else 0.0)
        share = options.rounds * (spell + 1) // _SPELLS - options.rounds * spell // _SPELLS
        for name, found in rounds.interleaved(timed, share, before_round=pins.apply).items():
            seconds[name] += found
    return seconds


def _bound(
    options: PredictionOptions,
    shape: shapes.Shape,
    tables: SharedTables,
    law: str,
    batch: int,
    machine: Platform,
    stack: ExitStack,
) -> _Case:
    features = [feature.name for feature in shape.model.features]
    workload = shape.workload(batch, distributions.parse(law, features), law)
    plans = {name: ours.planned(shape.model, machine, Objective((workload,)), name) for name in PLANNERS}
    same = plans["auto"].bucket(batch).stages == plans["symmetric"].bucket(batch).stages
    trial = trial_batches(shape, workload, options)
    lengths = tuple(int(factor) for factor in shape.pooling_factors)
    setup = Setup(shape.model, tables.buffer, tables.tables, batch, lengths, options.threads, options.pages)
    wanted_BW = expected.pooled(shape.model, tables.tables, trial[0])
    engines: dict[str, Any] = {}
    for name in ("auto",) if same else PLANNERS:
        executable = ours.bound(shape.model, plans[name], Weights(tables.tables), machine)
        stack.callback(executable.close)
        engines[name] = ours.Ours(setup, executable)
        problem = expected.disagreement(engines[name].output(engines[name].call(trial[0])), wanted_BW)
        if problem:
            raise AssertionError(f"plan of '{name}' {problem}")
    return _Case(law, workload, plans, engines, trial)


def _case(
    shape: shapes.Shape, case: _Case, seconds: Mapping[str, Sequence[float]], stored: Platform | None
) -> PredictionCase:
    batch = case.workload.batch
    found = []
    for name, plan in case.plans.items():
        promised = ours.expected_s(shape.model, stored, case.workload, plan) if stored else None
        found.append(_planner_case(name, plan, batch, seconds.get(name, seconds["auto"]), promised))
    same = len(seconds) == 1
    ratio = 1.0 if same else found[0].measured_s / found[1].measured_s
    asymmetric = found[0].owned > 0
    return PredictionCase(shape.file.name, case.law, batch, tuple(found), ratio, same, asymmetric)


def _planner_case(name: str, plan: Plan, batch: int, seconds: Sequence[float], stored_s: float | None) -> PlannerCase:
    seen = rounds.measurement(seconds)
    placements = [placement for stage in plan.bucket(batch).stages for placement in stage.placements]
    predicted = next(each for each in plan.predicted if each.batch == batch).total.seconds
    alone = [p for p in placements if len(p.cores) == 1 and p.samples.stop - p.samples.start == 1]
    several = len(plan.bucket(batch).cores) > 1
    return PlannerCase(
        planner=name,
        plan_digest=plan.digest(),
        predicted_s=predicted,
        measured_s=seen.seconds,
        q1_s=seen.q1_s,
        q3_s=seen.q3_s,
        error=predicted / seen.seconds - 1,
        owned=len({placement.feature for placement in alone}) if several else 0,
        strategies=tuple(sorted({placement.strategy for placement in placements})),
        stored_error=stored_s / seen.seconds - 1 if stored_s is not None else None,
    )


def drift(before: Platform, after: Platform) -> Drift:
    """How much the machine changed between two measurements of it."""
    ratios: dict[str, float] = {}
    for memory in before.memories:
        later = {_key(curve): curve.seconds for each in after.memories if each.id == memory.id for curve in each.curves}
        for curve in memory.curves:
            if curve.seconds > 0 and _key(curve) in later:
                words = f"{memory.id} {' '.join(str(part) for part in _key(curve))}"
                ratios[words] = later[_key(curve)] / curve.seconds
    if not ratios:
        return Drift(0, 1.0, "")
    worst = max(ratios, key=lambda words: max(ratios[words], 1 / max(ratios[words], 1e-12)))
    return Drift(len(ratios), median(ratios.values()), f"{worst}: {ratios[worst]:.2f}")


def _key(curve: Any) -> tuple[Any, ...]:
    return (curve.access, curve.row_bytes, curve.active_cores, curve.page)
