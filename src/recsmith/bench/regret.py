"""How much slower is what `auto` chose, settled by a rehearsal, than the best of all that could have been chosen?

Every planner, every strategy forced on all tables, fusion where there is something to fuse with, and plans drawn at
random are timed in turns. The best is chosen by the rounds of even number and compared by those of odd number, so
that luck does not count as skill.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from statistics import median
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from recsmith import api
from recsmith.calibration.turns import compared
from recsmith.cost import COSTS
from recsmith.data import distributions, shapes
from recsmith.planner.arbitrary import arbitrary
from recsmith.platforms import restrict
from recsmith.spec import (
    Model,
    Objective,
    Plan,
    PlanError,
    Platform,
    Progress,
    Record,
    RecsmithError,
    Weights,
    Workload,
)
from recsmith.spec.platform import Page
from recsmith.strategies import STRATEGIES

from . import dlrm, expected, ours, ours_joined, process, records
from .engine import Engine, Setup
from .prediction import SHAPES
from .tables import SharedTables
from .turns import in_turns, trial_batches

LAWS = ("uniform", "zipf:1.05")
BATCHES = (128, 2048)
CHOSEN, PREDICTED = "auto, rehearsed", "auto"


class RegretOptions(Record, frozen=True):
    """The grid.

    Attributes:
        fuse: "dot": look-ups with the interaction behind them, which plans may fuse.
        arbitrary: plans drawn at random.
        max_bytes: row cap for shapes that would take more.
    """

    shapes: tuple[str, ...] = SHAPES
    ids: tuple[str, ...] = LAWS
    batches: tuple[int, ...] = BATCHES
    threads: int = 2
    fuse: Literal["none", "dot"] = "none"
    arbitrary: int = 20
    pages: Page = "huge"
    max_bytes: int = 4_000_000_000
    rounds: int = 24
    sample_s: float = 5e-3
    seed: int = 0


class RegretCase(Record, frozen=True):
    """One shape, law and batch size.

    Attributes:
        seconds: plan to its median time; plans that are the same under several names are measured once.
        same_as: name to the name under which the same plan was measured.
        best: the fastest in the even rounds.
        regret: time of the chosen plan over that of `best`, less one: median over the odd rounds of each round's ratio.
        low: end of the 95 % bootstrap interval of `regret`.
        high: its other end.
    """

    workload: str
    ids: str
    batch: int
    seconds: dict[str, float]
    same_as: dict[str, str]
    best: str
    regret: float
    low: float
    high: float


class RegretRecord(Record, frozen=True):
    """The result of the whole grid.

    Attributes:
        median_regret: over all cases.
        clear_losses: cases whose whole interval lies above 5 %.
    """

    run: records.Run
    fuse: str
    cases: tuple[RegretCase, ...]
    median_regret: float
    clear_losses: int
    kind: Literal["regret"] = "regret"
    version: int = 1


def run_regret_bench(options: RegretOptions, machine: Platform, progress: Progress | None = None) -> RegretRecord:
    """Time every plan of every case.

    Args:
        machine: this machine, as measured.

    Raises:
        RecsmithError: a plan gives wrong vectors.
    """
    allocator = process.keep_freed_memory()
    here = restrict(machine, options.threads)
    cases: list[RegretCase] = []
    placement = ""
    total = len(options.shapes) * len(options.ids) * len(options.batches)
    for name in options.shapes:
        shape = shapes.shape(name, max_bytes=options.max_bytes)
        if options.fuse != "none":
            shape = msgspec.structs.replace(shape, model=dlrm.dlrm(shape, options.fuse))
        tables = SharedTables(shape.model, options.pages, options.seed)
        for law in options.ids:
            for batch in options.batches:
                if progress:
                    progress("timing plans", len(cases), total)
                case, placement = _case(options, shape, tables, law, batch, here)
                cases.append(case)
        del tables
    if progress:
        progress("timing plans", total, total)
    return RegretRecord(
        run=records.Run(records.commit(), records.now(), here.machine, options.threads, placement, allocator),
        fuse=options.fuse,
        cases=tuple(cases),
        median_regret=median(case.regret for case in cases),
        clear_losses=sum(case.low > 0.05 for case in cases),
    )


def _case(
    options: RegretOptions, shape: shapes.Shape, tables: SharedTables, law: str, batch: int, machine: Platform
) -> tuple[RegretCase, str]:
    features = [feature.name for feature in shape.model.features]
    workload = shape.workload(batch, distributions.parse(law, features), law)
    plans, same_as = _distinct(_plans(options, shape, tables, workload, machine), batch)
    seconds, placement = _measured(options, shape, tables, workload, plans, machine)
    best, (regret, low, high) = compared(seconds, CHOSEN, options.seed)
    medians = {name: median(spent) for name, spent in seconds.items()}
    return RegretCase(shape.file.name, law, batch, medians, same_as, best, regret, low, high), placement


def _plans(
    options: RegretOptions, shape: shapes.Shape, tables: SharedTables, workload: Workload, machine: Platform
) -> dict[str, Plan]:
    """Name to plan; ways that do not fit are left out."""
    objective = Objective((workload,))
    problem, strategies = api.problem(shape.model, machine, objective), api.strategies()
    names = [PREDICTED, "symmetric", "greedy", "ilp", *(["fused"] if options.fuse != "none" else [])]
    weights = Weights(tables.tables, _dense(options, shape.model))
    found = {CHOSEN: ours.settled(shape.model, machine, objective, weights)}
    found |= {name: ours.planned(shape.model, machine, objective, name) for name in names}
    for name in STRATEGIES.names():
        try:
            found[f"only {name}"] = ours.planned(shape.model, machine, objective, "symmetric", (name,))
        except PlanError:
            continue
    for seed in range(options.arbitrary):
        found[f"arbitrary {seed}"] = arbitrary(problem, strategies, COSTS["fitted"](), options.seed + seed)
    return found


def _distinct(plans: Mapping[str, Plan], batch: int) -> tuple[dict[str, Plan], dict[str, str]]:
    """The plans that serve `batch` differently, and which of them stand for others."""
    kept: dict[str, Plan] = {}
    same_as: dict[str, str] = {}
    for name, plan in plans.items():
        stages = plan.bucket(batch).stages
        twin = next((other for other, found in kept.items() if found.bucket(batch).stages == stages), None)
        if twin is None:
            kept[name] = plan
        else:
            same_as[name] = twin
    return kept, same_as


def _measured(
    options: RegretOptions,
    shape: shapes.Shape,
    tables: SharedTables,
    workload: Workload,
    plans: Mapping[str, Plan],
    machine: Platform,
) -> tuple[dict[str, list[float]], str]:
    """Each plan's seconds, one a round, and where threads were pinned."""
    trial = trial_batches(shape, workload, options)
    joint = None if options.fuse == "none" else dlrm.joint(shape.model, workload.batch, options.seed)
    lengths = tuple(int(factor) for factor in shape.pooling_factors)
    setup = Setup(
        shape.model, tables.buffer, tables.tables, workload.batch, lengths, options.threads, options.pages, joint
    )
    wanted_BW = expected.output(shape.model, tables.tables, trial[0], joint)
    with ExitStack() as stack:
        engines = {name: _engine(options, setup, plan, machine, stack) for name, plan in plans.items()}
        for name, engine in engines.items():
            problem = expected.disagreement(engine.output(engine.call(trial[0])), wanted_BW)
            if problem:
                raise RecsmithError(
                    "bench", f"plan '{name}' {problem}", "This is a fault in recsmith: please report it."
                )
        turns = in_turns(engines, shape, workload, trial, options)
        return turns.seconds, turns.placement


def _engine(options: RegretOptions, setup: Setup, plan: Plan, machine: Platform, stack: ExitStack) -> Engine:
    executable = ours.bound(setup.model, plan, Weights(setup.tables, _dense(options, setup.model)), machine)
    stack.callback(executable.close)
    if setup.joint is None:
        return ours.Ours(setup, executable)
    return ours_joined.Joined(setup, ours.Bound(plan, machine, executable, str(executable.isa)))


def _dense(options: RegretOptions, model: Model) -> dict[str, NDArray[np.float32]]:
    """Parameters of the MLPs around the interaction; none where only look-ups are timed."""
    return {} if options.fuse == "none" else dlrm.parameters(model)
