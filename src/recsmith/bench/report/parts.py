"""Parts of a plan as problems of their own: a table, or a core's share, to be priced and timed alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction

from msgspec.structs import replace

from recsmith.representations import REPRESENTATIONS
from recsmith.spec import (
    Bucket,
    Interval,
    Model,
    Objective,
    Placement,
    Plan,
    Platform,
    Problem,
    Stage,
    Weights,
    Workload,
)


@dataclass(frozen=True, slots=True)
class Part:
    """A smaller model with the part of a plan that serves it.

    Attributes:
        problem: has one workload.
        plan: has one bucket, for that workload's batch.
    """

    problem: Problem
    plan: Plan

    @property
    def workload(self) -> Workload:
        """What it is asked."""
        return self.problem.objective.workloads[0]

    @property
    def bucket(self) -> Bucket:
        """How it is served."""
        return self.plan.buckets[0]


def largest(made: Plan) -> Workload:
    """The workload of the plan's objective with the largest batch."""
    return max(made.objective.workloads, key=lambda workload: workload.batch)


def whole_problem(model: Model, platform: Platform, workload: Workload) -> Problem:
    """All features held as tables, asked as `workload` says."""
    lower = REPRESENTATIONS["table"]().lower
    return Problem(model, tuple(op for f in model.features for op in lower(f, model)), Objective((workload,)), platform)


def part_of(
    model: Model,
    platform: Platform,
    workload: Workload,
    made: Plan,
    placements: Collection[Placement],
) -> Part:
    """The features of `placements` as a model of their own, served by these placements of `made`."""
    features = {placement.feature for placement in placements}
    kept = tuple(feature for feature in model.features if feature.name in features)
    tables = {feature.table for feature in kept}
    small = replace(
        model,
        features=kept,
        tables=tuple(table for table in model.tables if table.name in tables),
        dense_inputs=0,
        bottom=None,
        interaction=None,
        top=None,
        graph=None,
    )
    accesses = tuple(access for access in workload.accesses if access.feature in features)
    problem = whole_problem(small, platform, replace(workload, accesses=accesses))
    plan = replace(
        made,
        problem=problem.digest(),
        model=small.digest(),
        objective=problem.objective,
        buckets=(Bucket(None, (Stage(tuple(placements)),)),),
        predicted=(),
    )
    return Part(problem, plan)


def of_table(model: Model, platform: Platform, workload: Workload, made: Plan, table: str) -> Part:
    """All look-ups in one table."""
    found = [placement for placement in _placements(made, workload) if placement.shard.table == table]
    return part_of(model, platform, workload, made, found)


def of_core(model: Model, platform: Platform, workload: Workload, made: Plan, core: str) -> tuple[Part, ...] | None:
    """What one core does, one part for each share of the batch; None when it adds up partial sums with others."""
    shares: dict[Fraction, list[Placement]] = defaultdict(list)
    for placement in _placements(made, workload):
        if core in placement.cores:
            if placement.reduce == "add":
                return None
            share = (placement.samples.stop - placement.samples.start) / len(placement.cores)
            shares[share].append(replace(placement, cores=(core,), samples=Interval()))
    return tuple(
        part_of(model, platform, replace(workload, batch=max(1, round(workload.batch * share))), made, placements)
        for share, placements in shares.items()
    )


def weights_of(part: Part, weights: Weights) -> Weights:
    """The arrays of the part's tables."""
    return Weights({table.name: weights.tables[table.name] for table in part.problem.model.tables})


def _placements(made: Plan, workload: Workload) -> list[Placement]:
    return [placement for stage in made.bucket(workload.batch).stages for placement in stage.placements]
