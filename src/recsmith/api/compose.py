"""The composition root: names become objects here, registries meet planners, and nothing else joins them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from recsmith.cost import COSTS
from recsmith.kernels import KERNELS
from recsmith.planner import PLANNERS
from recsmith.platforms import load as open_platform
from recsmith.representations import beside_name, lower, seen, served, servings
from recsmith.spec import (
    Executable,
    Model,
    Objective,
    Plan,
    PlanError,
    Platform,
    Problem,
    Progress,
    Registry,
    Serving,
    Strategy,
    Weights,
    Workload,
    check,
)
from recsmith.strategies import STRATEGIES

MEASURES = Registry("calibration", {"cuda": "recsmith.calibration.cuda:measure"})
"""What measures platforms that are no processors, by kind."""


def load(source: str | Path, **options: Any) -> tuple[Model, Weights]:
    """A trained model: an artifact, a folder that `train` wrote, a PyTorch checkpoint or a safetensors file.

    Large tables are mapped, not read.

    Args:
        options: `interaction`, `self_terms`, ...; see `recsmith.importers.import_model`.

    Raises:
        CheckpointError: the source is none of these, is damaged, or cannot be imported.
    """
    from recsmith.importers import import_model

    return import_model(source, **options)


def platform(name_or_path: str | Path = "cpu") -> Platform:
    """A machine: "cpu" and "cuda" probe this one, "h200" and others are modelled, a JSON file is a saved profile.

    Raises:
        UnknownNameError: there is no platform of that name.
        UnavailableError: a GPU is to be probed and there is none.
        FormatError: the file is not a profile.
    """
    return open_platform(name_or_path)


def measure(platform: Platform | None = None, **options: Any) -> Platform:
    """`platform` (this machine when None) with measured curves; takes up to a minute. Where torch is installed, what
    computing rows and MLPs costs is measured too.

    Args:
        options: `budget_s`, `progress`; see `recsmith.calibration.measure`, for a GPU `recsmith.calibration.cuda`.

    Raises:
        UnavailableError: it is not this machine.
    """
    if platform is not None and platform.kind in MEASURES.names():
        measured: Platform = MEASURES[platform.kind](platform, **options)
        return measured
    from recsmith.calibration import measure as calibrate
    from recsmith.executor import compile as bind
    from recsmith.executor.timing import mlp_of, rows_of

    computes = (rows_of, mlp_of) if find_spec("torch") else None
    return calibrate(platform or open_platform("cpu"), bind=bind, computes=computes, **options)


def tune(profile: Platform, **options: Any) -> Platform:
    """`profile`, measured on this machine, with kernel parameters for each memory, row size and batch, by trying them.

    Args:
        options: `budget_s`, `resume_file`, `progress`; see `recsmith.calibration.tune`.

    Raises:
        UnavailableError: the profile is another machine's, or was not measured.
    """
    from recsmith.calibration.tune import tune as calibrate

    return calibrate(profile, **options)


def problem(model: Model, platform: Platform, workloads: Workload | Objective | Iterable[Workload]) -> Problem:
    """What a planner is asked: every feature as its representation lowers it, looked up as the workloads say."""
    ops = tuple(op for feature in model.features for op in lower(feature, model))
    return Problem(model, ops, Objective.of(workloads), platform)


def strategies(names: Sequence[str] | None = None, platform: Platform | None = None) -> dict[str, Strategy]:
    """Strategies by name; when `names` is None all on the menu, or those that `platform` has kernels and cores for.

    Raises:
        UnknownNameError: a name is not on the menu.
        PlanError: a name was given that needs cores which `platform` does not have.
    """
    chosen = names or STRATEGIES.names()
    for name in names or ():
        together = STRATEGIES[name].together
        if platform is not None and not platform.groups(together):
            raise PlanError(
                "plan",
                f"strategy '{name}' needs {together} neighbouring cores that read each other's memory; "
                f"'{platform.name}' has none",
                "Leave it out, or plan for an H100 or H200.",
            )
    if not names and platform is not None and platform.kind in KERNELS.names():
        kernels = KERNELS[platform.kind]()
        chosen = [name for name in chosen if kernels.supports("gather", name)]
        chosen = [name for name in chosen if platform.groups(STRATEGIES[name].together)]
    return {name: STRATEGIES[name]() for name in chosen}


def plan(
    model: Model,
    platform: Platform,
    workloads: Workload | Objective | Iterable[Workload],
    *,
    planner: str = "auto",
    allow: Sequence[str] | None = None,
    cost: str = "fitted",
    serving: Sequence[Serving] = (),
) -> Plan:
    """A checked plan: how each feature is looked up, and by which cores.

    Args:
        workloads: what to plan for; one, several, or an objective that weighs them.
        planner: a name on `recsmith.planner.PLANNERS`.
        allow: strategies to choose from; those that the platform has kernels for by default.
        cost: a name on `recsmith.cost.COSTS`.
        serving: how computed tables are served; those not named are computed when asked.

    Raises:
        PlanError: no plan exists under these restrictions.
        CapacityError: the tables do not fit.
    """
    ways = servings(model, serving)
    asked = problem(served(model, ways), platform, _both(model, workloads))
    allowed = strategies(allow, platform)
    made: Plan = PLANNERS[planner]().plan(asked, allowed, COSTS[cost]())
    check(made, asked, allowed)
    return replace(made, serving=ways) if ways else made


def rehearse(
    model: Model,
    plan: Plan,
    weights: Weights,
    *,
    platform: Platform | None = None,
    allow: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Plan:
    """`plan` with the fastest of its finalists, timed here with the model's own tables; takes a second or two.

    Finalists differ from the plan, and from each other, in whether and how vectors are written before they are joined,
    and whether all cores take part. Of a plan that folds features, what is not folded is timed.

    Args:
        plan: made for this machine.
        platform: what it was made for; probed when None.
        allow: strategies to choose from, as of `plan`.

    Raises:
        PlanError: the model has computed tables, whose time depends on what is cached.
        ForeignPlanError: the plan belongs to another model or machine.
    """
    from recsmith.calibration.rehearsal import rehearsed
    from recsmith.executor import compile as bind
    from recsmith.planner.evaluate import Pricer

    if model.computes:
        raise PlanError("rehearse", f"model '{model.name}' computes some of its rows", "Plan it without a rehearsal.")
    here = platform or open_platform("cpu")
    allowed = strategies(allow, here)
    part, own = seen(model, plan)[0]
    asked = problem(part, here, own.objective)
    made = rehearsed(own, Pricer(asked, allowed, COSTS["fitted"]()), weights, bind, progress)
    check(made, asked, allowed)
    return replace(plan, buckets=made.buckets, notes=made.notes, predicted=made.predicted)


def _both(model: Model, workloads: Workload | Objective | Iterable[Workload]) -> Objective:
    """The workloads as an objective in which second vectors are asked for as often as first ones."""
    asked = Objective.of(workloads)
    twofold = [feature for feature in model.features if feature.beside is not None]
    if not twofold:
        return asked

    def extended(workload: Workload) -> Workload:
        by_feature = {access.feature: access for access in workload.accesses}
        added = [replace(by_feature[f.name], feature=beside_name(f)) for f in twofold if f.name in by_feature]
        return replace(workload, accesses=(*workload.accesses, *added))

    return replace(asked, workloads=tuple(map(extended, asked.workloads)))


def compile(
    model: Model,
    plan: Plan,
    weights: Weights,
    *,
    platform: Platform | None = None,
    **options: Any,
) -> Executable:
    """`plan` bound to this machine: tables copied into memory, threads started, kernels chosen.

    Args:
        platform: this machine; probed when None.
        options: `isa`, `pages`, `allow_foreign`, `dense`, `progress`; see `recsmith.executor.compile`. For computed
            tables also `profile`; see `recsmith.executor.compile_computed`. For folded features no `dense`; see
            `recsmith.executor.compile_folded`. On a GPU `device_bytes`, `allow_foreign`, `progress`; see
            `recsmith.executor.cuda.compile`.

    Raises:
        ForeignPlanError: the plan belongs to another model or machine.
        PlanError: the plan does not serve every feature exactly once.
        CapacityError: the tables do not fit in memory; says how many bytes they need.
        UnavailableError: a forced instruction set does not exist here.
    """
    from recsmith.executor import EXECUTORS, compile_computed, compile_folded

    here = platform or open_platform("cpu")
    if plan.fold is not None:
        return compile_folded(model, plan, weights, platform=here, **options)
    if model.computes and here.kind == "cpu":
        return compile_computed(model, plan, weights, platform=here, **options)
    executable: Executable = EXECUTORS[here.kind](model, plan, weights, platform=here, **options)
    return executable
