"""Binds a plan to the machine it will run on."""

from __future__ import annotations

from typing import Any

import recsmith._native as _native
from recsmith.kernels.cpu import choose_target
from recsmith.spec import ForeignPlanError, Gather, Model, Plan, Platform, Problem, Progress, Weights
from recsmith.spec.check import check_coverage, check_origin

from . import lanes, program
from .cpu import CpuExecutable
from .dense import Dense, dense_of
from .faults import Faults
from .memory import Pages, place_tables


def compile(
    model: Model,
    plan: Plan,
    weights: Weights,
    *,
    platform: Platform,
    isa: str = "auto",
    pages: Pages = "huge",
    allow_foreign: bool = False,
    dense: Dense | None = None,
    progress: Progress | None = None,
    live: frozenset[str] = frozenset(),
) -> CpuExecutable:
    """An executable of `plan` on this machine.

    Args:
        platform: this machine; processors outside the affinity mask or the control group's quota are not used.
        isa: instruction set of the kernels, as `recsmith.kernels.cpu.targets` names them, or "auto".
        pages: what the tables lie on: `huge` or `4k` pages of an arena they are copied to, or `file` or `borrow`
            to read the given arrays where they are.
        allow_foreign: take a plan that was made for another machine; its cores must exist here.
        dense: what comes after the look-up, instead of the model's own dense part.
        progress: told the bytes copied.
        live: tables whose arrays are written to while they serve; they are read where they are.

    Raises:
        ForeignPlanError: the plan was made for another model or machine.
        PlanError: the plan does not serve the model, or names cores that the machine does not have.
        UnavailableError: the instruction set, a data flow or torch is not there.
        FormatError: the weights do not fit the model.
        CapacityError: the tables do not fit in memory; says how many bytes are needed.
    """
    target = choose_target(isa)
    if platform.kind != "cpu":
        raise ForeignPlanError("compile", f"'{platform.name}' is no CPU", "Compile on the machine that will serve.")
    ops = tuple(Gather(f.name, f.table, f.pooling, f.weighted) for f in model.features)
    problem = Problem(model, ops, plan.objective, platform)
    check_origin(plan, problem, allow_foreign=allow_foreign)
    check_coverage(plan, problem)
    made = lanes.assign(plan, platform)
    buckets = program.buckets(model, plan, made)
    joint = program.joint(model)
    finish = dense_of(model, weights) if dense is None else dense
    memory = place_tables(model, weights, plan, platform, pages, len(_native.allowed_processors()), progress, live)
    faults = Faults(model)
    engine: Any = _native.Engine(
        target=target,
        tables=program.tables(model, memory.placed),
        features=program.features(model),
        buckets=buckets,
        processors=list(made.processors),
        width=model.width,
        joint=joint,
        memory=memory.owner,
        fault=faults.fault,
        malformed=faults.malformed,
    )
    return CpuExecutable(model, engine, memory, finish)
