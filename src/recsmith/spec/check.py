"""What must hold of any plan, whoever made it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from fractions import Fraction

from .errors import CapacityError, ForeignPlanError, PlanError
from .model import Table
from .plan import Bucket, Fuse, Placement, Plan, Problem, Shard, Stage
from .platform import Role
from .protocols import Strategy


def check(plan: Plan, problem: Problem, strategies: Mapping[str, Strategy], *, allow_foreign: bool = False) -> None:
    """Return when `plan` serves `problem` correctly.

    Every row of every feature is served for every sample exactly once (in exact fractions of the batch),
    partial sums are declared where rows of one feature lie in several shards, the cores exist, those that keep
    a shard together can do so, and what is resident fits.

    Raises:
        ForeignPlanError: the plan was made for another model or machine.
        PlanError: a feature is served not at all, in part, or twice; a core or strategy is unknown.
        CapacityError: a core's private memory cannot hold the shards placed there.
    """
    check_origin(plan, problem, allow_foreign=allow_foreign)
    check_coverage(plan, problem)
    _check_strategies(plan, strategies)
    _check_groups(plan, problem, strategies)
    check_capacity(plan, problem, strategies)


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
        placements = [placement for stage in bucket.stages for placement in stage.placements]
        for placement in placements:
            _check_names(placement, problem)
        _check_features(placements, problem)
        _check_fusion(bucket, problem)


def _check_fusion(bucket: Bucket, problem: Problem) -> None:
    """Only a bucket's last stage may be fused, and its cores must have all vectors of the samples they serve."""
    model = problem.model
    for at, stage in enumerate(bucket.stages):
        if not isinstance(stage.output, Fuse):
            continue
        wanted = None if model.interaction is None else model.interaction.kind
        if stage.output.interaction != wanted:
            raise PlanError(
                "plan",
                f"a stage is fused with a '{stage.output.interaction}' interaction; model '{model.name}' has "
                f"{'none' if wanted is None else repr(wanted)}",
                "Materialise the stage, or name the model's interaction.",
            )
        if at + 1 < len(bucket.stages):
            raise PlanError("plan", "a stage that is fused is not the last of its bucket", "Put it last.")
        if stage.output.block < 1:
            raise PlanError(
                "plan", f"a fused stage works on blocks of {stage.output.block} samples", "Take 1 or more at a time."
            )
        _check_fused_stage(stage, problem)


def _check_fused_stage(stage: Stage, problem: Problem) -> None:
    if not stage.placements:
        raise PlanError("plan", "a stage that is fused has no placements", "Remove it: nothing is left to fuse.")
    first = stage.placements[0]
    poolings = {op.feature: op.pooling for op in problem.gathers}
    for placement in stage.placements:
        if (placement.cores, placement.samples) != (first.cores, first.samples):
            raise PlanError(
                "plan",
                f"features '{first.feature}' and '{placement.feature}' are fused, but divide the samples differently",
                "Give them the same cores and samples, or materialise one of them in a stage before.",
            )
        if placement.reduce != "none" or poolings[placement.feature] == "none":
            kind = "row shards" if placement.reduce != "none" else "no pooling"
            raise PlanError(
                "plan", f"feature '{placement.feature}' is fused with {kind}", "Materialise it in a stage before."
            )


def _check_names(placement: Placement, problem: Problem) -> None:
    cores = [core.id for core in problem.platform.cores]
    tables = {op.feature: op.table for op in problem.gathers}
    feature = placement.feature
    if feature not in tables:
        raise PlanError("plan", f"feature '{feature}' is not in the model", "Remove its placement.")
    if placement.shard.table != tables[feature]:
        raise PlanError(
            "plan",
            f"feature '{feature}' reads table '{tables[feature]}', but is placed on '{placement.shard.table}'",
            "Name the feature's own table.",
        )
    unknown = [core for core in placement.cores if core not in cores]
    if unknown or not placement.cores:
        raise PlanError(
            "plan", f"feature '{feature}' is placed on {unknown or 'no core'}", f"The cores are: {', '.join(cores)}."
        )
    twice = sorted({core for core in placement.cores if placement.cores.count(core) > 1})
    if twice:
        raise PlanError("plan", f"feature '{feature}' is placed on {twice} twice", "Name each core once a placement.")
    if placement.tuning.prefetch_distance < 0 or placement.tuning.block < 0:
        raise PlanError(
            "plan", f"feature '{feature}' has a negative prefetch distance or block", "Zero means none, or all samples."
        )


def _check_features(placements: Sequence[Placement], problem: Problem) -> None:
    by_feature: dict[str, list[Placement]] = defaultdict(list)
    for placement in placements:
        by_feature[placement.feature].append(placement)
    for op in problem.gathers:
        rows = problem.model.table(op.table).rows
        _check_rectangles(op.feature, rows, by_feature.get(op.feature, []))


def _check_rectangles(feature: str, rows: int, placements: Sequence[Placement]) -> None:
    """The rectangles shard x samples must tile [0, rows) x [0, 1) without overlap."""
    if not placements:
        raise PlanError("plan", f"feature '{feature}' is not served at all", "Add a placement for it to each bucket.")
    area = Fraction(0)
    for i, a in enumerate(placements):
        _check_rectangle(feature, rows, a)
        area += a.shard.rows * (a.samples.stop - a.samples.start)
        for b in placements[i + 1 :]:
            if _overlap(a, b):
                raise PlanError(
                    "plan",
                    f"feature '{feature}' is served twice for rows [{max(a.shard.start, b.shard.start)}, "
                    f"{min(a.shard.stop, b.shard.stop)}) and samples [{max(a.samples.start, b.samples.start)}, "
                    f"{min(a.samples.stop, b.samples.stop)})",
                    "Let each row and sample be served by one placement, in one stage.",
                )
    if area != rows:
        raise PlanError(
            "plan",
            f"feature '{feature}' is served for {float(area / rows):.1%} of its rows and samples",
            "Add placements for the rest.",
        )


def _check_rectangle(feature: str, rows: int, placement: Placement) -> None:
    shard, samples = placement.shard, placement.samples
    served = f"rows [{shard.start}, {shard.stop}) and samples [{samples.start}, {samples.stop})"
    if shard.start >= shard.stop or samples.start >= samples.stop:
        raise PlanError(
            "plan",
            f"feature '{feature}' has a placement that serves nothing: {served}",
            "Remove it, or let the ranges rise.",
        )
    if shard.start < 0 or shard.stop > rows or samples.start < 0 or samples.stop > 1:
        raise PlanError(
            "plan",
            f"feature '{feature}' is served for {served}, outside rows [0, {rows}) or samples [0, 1)",
            "Correct the range.",
        )
    if shard.rows != rows and placement.reduce != "add":
        raise PlanError(
            "plan",
            f"feature '{feature}' is served from a part of its rows by a placement that does not reduce",
            "Set reduce to 'add' for row shards.",
        )


def _overlap(a: Placement, b: Placement) -> bool:
    rows = max(a.shard.start, b.shard.start) < min(a.shard.stop, b.shard.stop)
    return rows and max(a.samples.start, b.samples.start) < min(a.samples.stop, b.samples.stop)


def _check_strategies(plan: Plan, strategies: Mapping[str, Strategy]) -> None:
    for placement in _placements(plan.buckets):
        if placement.strategy not in strategies:
            raise PlanError(
                "plan",
                f"feature '{placement.feature}' asks for strategy '{placement.strategy}'",
                f"The strategies are: {', '.join(strategies)}.",
            )


def _check_groups(plan: Plan, problem: Problem, strategies: Mapping[str, Strategy]) -> None:
    """Cores that keep a shard together are neighbours, group after group."""
    for placement in _placements(plan.buckets):
        size = strategies[placement.strategy].together
        if size == 1:
            continue
        able = set(problem.platform.groups(size))
        cores = placement.cores
        strangers = [cores[at : at + size] for at in range(0, len(cores), size) if cores[at : at + size] not in able]
        if strangers:
            raise PlanError(
                "plan",
                f"feature '{placement.feature}' under '{placement.strategy}' is placed on {', '.join(strangers[0])}, "
                f"which cannot keep a table together",
                f"Name cores in groups of {size} neighbours, or use another strategy, such as 'l1'.",
            )


def check_capacity(plan: Plan, problem: Problem, strategies: Mapping[str, Strategy]) -> None:
    """Return when everything fits where it lives.

    A table lies once in main memory, whoever serves it. Local memory holds all shards placed there at once,
    those of other buckets too unless it is a cache, which fills itself anew. Staging memory is scratch.

    Raises:
        PlanError: a core has no memory for a role.
        CapacityError: something does not fit.
    """
    placements = _placements(plan.buckets)
    _check_main_memory({p.shard.table for p in placements}, problem)
    for bucket in plan.buckets:
        check_private(_placements([bucket]), problem, strategies)
    held = [p for p in placements if "local" in strategies[p.strategy].resident(_table(p, problem), p.shard)]
    cores = {core.id for core in problem.platform.cores if "local" in core.roles}
    pads = {core for core in cores if problem.platform.bind(core, "local").kind != "cache"}
    check_private([p for p in held if pads & set(p.cores)], problem, strategies)


def _check_main_memory(tables: Set[str], problem: Problem) -> None:
    needed = sum(problem.model.table(name).nbytes for name in tables)
    available = problem.platform.table_bytes
    if needed > available:
        raise CapacityError(
            "plan",
            f"the tables need {needed:,} bytes of main memory; '{problem.platform.name}' has {available:,}",
            "Use a smaller row format, a larger machine, or fewer rows.",
        )


def check_private(placements: Sequence[Placement], problem: Problem, strategies: Mapping[str, Strategy]) -> None:
    """Return when the private memories hold what `placements` keep there at the same time.

    Raises:
        PlanError: a core has no memory for a role.
        CapacityError: something does not fit.
    """
    kept: dict[tuple[str, Role], dict[tuple[Shard, int], int]] = defaultdict(dict)
    for placement in placements:
        strategy = strategies[placement.strategy]
        resident = strategy.resident(_table(placement, problem), placement.shard)
        for core in placement.cores:
            for role, nbytes in resident.items():
                kept[core, role][placement.shard, strategy.together] = nbytes
    for (core, role), shards in kept.items():
        if role not in problem.platform.core(core).roles:
            raise PlanError("plan", f"core '{core}' has no {role} memory", "Choose another strategy, such as 'gm'.")
        memory = problem.platform.bind(core, role)
        # Shards use staging memory one after the other; local memory holds all of them at once.
        needed = sum(shards.values()) if role == "local" else max(shards.values())
        if needed > memory.capacity_bytes:
            raise CapacityError(
                "plan",
                f"core '{core}' would keep {needed:,} bytes in {role} memory '{memory.id}', "
                f"which holds {memory.capacity_bytes:,}",
                "Split a table (planner 'greedy' or 'ilp'), or allow strategy 'gm'.",
            )


def _placements(buckets: Sequence[Bucket]) -> list[Placement]:
    return [placement for bucket in buckets for stage in bucket.stages for placement in stage.placements]


def _table(placement: Placement, problem: Problem) -> Table:
    return problem.model.table(placement.shard.table)
