"""What must hold of any plan, whoever made it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction

from .errors import CapacityError, ForeignPlanError, PlanError
from .plan import Bucket, Placement, Plan, Problem, Shard, Stage
from .platform import Role
from .protocols import Strategy


def check(plan: Plan, problem: Problem, strategies: Mapping[str, Strategy], *, allow_foreign: bool = False) -> None:
    """Return when `plan` serves `problem` correctly.

    Every row of every feature is served for every sample exactly once (in exact fractions of the batch),
    partial sums are declared where rows of one feature lie in several shards, the cores exist, and what is
    resident fits.

    Raises:
        ForeignPlanError: the plan was made for another model or machine.
        PlanError: a feature is served not at all, in part, or twice; a core or strategy is unknown.
        CapacityError: a core's private memory cannot hold the shards placed there.
    """
    check_origin(plan, problem, allow_foreign=allow_foreign)
    check_coverage(plan, problem)
    for bucket in plan.buckets:
        _check_capacity(bucket, problem, strategies)


def check_origin(plan: Plan, problem: Problem, *, allow_foreign: bool = False) -> None:
    """Return when `plan` was made for the problem's model and machine.

    The digest of the whole problem may differ: measuring a machine again does not make its plans foreign.

    Raises:
        ForeignPlanError: it was not.
    """
    model = problem.model.digest()
    if plan.model != model:
        raise ForeignPlanError(
            "plan",
            f"this plan was made for model {plan.model}, not '{problem.model.name}' ({model})",
            "Make a plan for this model: recsmith plan DIR.",
        )
    if plan.machine != problem.platform.machine and not allow_foreign:
        raise ForeignPlanError(
            "plan",
            f"this plan was made for '{plan.machine}', not for '{problem.platform.machine}'",
            "Make a plan for this machine, or allow a foreign plan.",
        )


def check_coverage(plan: Plan, problem: Problem) -> None:
    """Return when every feature, row and sample is served exactly once by cores that exist.

    Raises:
        PlanError: it is not so.
    """
    if not plan.buckets or plan.buckets[-1].batch_up_to is not None:
        raise PlanError("plan", "the last bucket must take batches of any size", "Set its batch_up_to to null.")
    sizes = [bucket.batch_up_to or 0 for bucket in plan.buckets[:-1]]
    if sizes != sorted(set(sizes)) or 0 in sizes:
        raise PlanError("plan", f"bucket sizes {sizes} do not rise", "Order the buckets by batch_up_to.")
    for bucket in plan.buckets:
        for stage in bucket.stages:
            _check_names(stage, problem)
        placements = [placement for stage in bucket.stages for placement in stage.placements]
        _check_features(placements, problem)


def _check_names(stage: Stage, problem: Problem) -> None:
    cores = {core.id for core in problem.platform.cores}
    tables = {op.feature: op.table for op in problem.ops}
    for placement in stage.placements:
        if placement.feature not in tables:
            raise PlanError("plan", f"feature '{placement.feature}' is not in the model", "Remove its placement.")
        if placement.shard.table != tables[placement.feature]:
            raise PlanError(
                "plan",
                f"feature '{placement.feature}' reads table '{tables[placement.feature]}', "
                f"but is placed on '{placement.shard.table}'",
                "Name the feature's own table.",
            )
        unknown = [core for core in placement.cores if core not in cores]
        if unknown or not placement.cores:
            raise PlanError(
                "plan",
                f"feature '{placement.feature}' is placed on {unknown or 'no core'}",
                f"The cores are: {', '.join(sorted(cores))}.",
            )


def _check_features(placements: Sequence[Placement], problem: Problem) -> None:
    by_feature: dict[str, list[Placement]] = defaultdict(list)
    for placement in placements:
        by_feature[placement.feature].append(placement)
    for op in problem.ops:
        rows = problem.model.table(op.table).rows
        _check_rectangles(op.feature, rows, by_feature.get(op.feature, []))


def _check_rectangles(feature: str, rows: int, placements: Sequence[Placement]) -> None:
    """The rectangles shard x samples must tile [0, rows) x [0, 1) without overlap."""
    area = Fraction(0)
    for i, a in enumerate(placements):
        inside = 0 <= a.shard.start < a.shard.stop <= rows and 0 <= a.samples.start < a.samples.stop <= 1
        if not inside:
            raise PlanError(
                "plan",
                f"feature '{feature}' is served for rows [{a.shard.start}, {a.shard.stop}) and samples "
                f"[{a.samples.start}, {a.samples.stop}), outside rows [0, {rows}) or samples [0, 1)",
                "Correct the range.",
            )
        area += a.shard.rows * (a.samples.stop - a.samples.start)
        for b in placements[i + 1 :]:
            if _overlap(a, b):
                raise PlanError(
                    "plan",
                    f"feature '{feature}' is served twice for rows [{max(a.shard.start, b.shard.start)}, "
                    f"{min(a.shard.stop, b.shard.stop)})",
                    "Let each row and sample be served by one placement.",
                )
        if a.shard.rows != rows and a.reduce != "add":
            raise PlanError(
                "plan",
                f"feature '{feature}' is served from a part of its rows by a placement that does not reduce",
                "Set reduce to 'add' for row shards.",
            )
    if area != rows:
        raise PlanError(
            "plan",
            f"feature '{feature}' is served for {float(area / rows):.1%} of its rows and samples",
            "Add placements for the rest.",
        )


def _overlap(a: Placement, b: Placement) -> bool:
    rows = max(a.shard.start, b.shard.start) < min(a.shard.stop, b.shard.stop)
    return rows and max(a.samples.start, b.samples.start) < min(a.samples.stop, b.samples.stop)


def _check_capacity(bucket: Bucket, problem: Problem, strategies: Mapping[str, Strategy]) -> None:
    kept: dict[tuple[str, Role], dict[Shard, int]] = defaultdict(dict)
    for stage in bucket.stages:
        for placement in stage.placements:
            if placement.strategy not in strategies:
                raise PlanError(
                    "plan",
                    f"feature '{placement.feature}' asks for strategy '{placement.strategy}'",
                    f"The strategies are: {', '.join(strategies)}.",
                )
            table = problem.model.table(placement.shard.table)
            resident = strategies[placement.strategy].resident(table, placement.shard)
            for core in placement.cores:
                for role, nbytes in resident.items():
                    kept[core, role][placement.shard] = nbytes
    for (core, role), shards in kept.items():
        memory = problem.platform.bind(core, role)
        # Staging is scratch: shards use it one after the other. Local memory holds all of them at once.
        needed = sum(shards.values()) if role == "local" else max(shards.values())
        if needed > memory.capacity_bytes:
            raise CapacityError(
                "plan",
                f"core '{core}' would keep {needed:,} bytes in {role} memory '{memory.id}', "
                f"which holds {memory.capacity_bytes:,}",
                "Split a table (planner 'greedy' or 'ilp'), or allow strategy 'gm'.",
            )
