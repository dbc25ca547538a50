"""A plan as data for people: who holds what, what it is expected to cost, and what else could have been done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from recsmith.spec import (
    Bucket,
    CostModel,
    Placement,
    Plan,
    Predicted,
    Problem,
    Record,
    RecsmithError,
    Stage,
    Strategy,
    Tuning,
    Workload,
    check,
)
from recsmith.spec.check import check_private

from .evaluate import Priced, Pricer


class Alternative(Record, frozen=True):
    """Another way to serve one feature, everything else as planned.

    Attributes:
        change_s: by how much one call would take longer; negative when it would be faster.
    """

    way: str
    change_s: float


class ServedFeature(Record, frozen=True):
    """How one feature is served for a range of batches.

    Attributes:
        way: in words, such as "whole on 2 cores, gm".
        holders: core id to the rows [start, stop) it serves.
        core_seconds: core id to seconds it spends on this feature.
        breakdown: named parts of all cores' seconds together.
        why: a sentence.
    """

    feature: str
    table: str
    rows: int
    dim: int
    nbytes: int
    way: str
    holders: dict[str, tuple[tuple[int, int], ...]]
    tuning: Tuning
    core_seconds: dict[str, float]
    breakdown: dict[str, float]
    alternatives: tuple[Alternative, ...]
    why: str

    @property
    def seconds(self) -> float:
        """Seconds of all cores together."""
        return sum(self.core_seconds.values())


class ServedBatches(Record, frozen=True):
    """What happens to batches of one range.

    Attributes:
        batch_from, batch_up_to: the range; None means any size.
        predicted: for one workload of that range, the first of the objective's or one scaled into it.
    """

    batch_from: int
    batch_up_to: int | None
    cores: tuple[str, ...]
    predicted: Predicted
    features: tuple[ServedFeature, ...]


class Explanation(Record, frozen=True):
    """A plan, explained.

    Attributes:
        predicted: for each workload of the objective, made anew.
        source: of the estimates: modelled, or fitted to measurements.
        folded: the same for features that are folded into the first top layer, which all else leaves out.
    """

    planner: str
    machine: str
    source: str
    notes: tuple[str, ...]
    predicted: tuple[Predicted, ...]
    batches: tuple[ServedBatches, ...]
    folded: Explanation | None = None


class Change(Record, frozen=True):
    """One difference between two plans.

    Attributes:
        batch_up_to: of the bucket it concerns.
        before, after: in words; empty when the feature or bucket is not there.
    """

    batch_up_to: int | None
    feature: str
    before: str
    after: str


def explain(plan: Plan, problem: Problem, strategies: Mapping[str, Strategy], cost: CostModel) -> Explanation:
    """What `plan` does, what it is expected to cost under `problem`'s objective, and why.

    Raises:
        PlanError: the plan does not serve the problem.
    """
    check(plan, problem, strategies, allow_foreign=True)
    pricer = Pricer(problem, strategies, cost)
    bounds = {predicted.workload: predicted.lower_bound_s for predicted in plan.predicted}
    batches, start = [], 1
    for bucket in plan.buckets:
        batches.append(_served(pricer, bucket, start, bounds))
        start = (bucket.batch_up_to or 0) + 1
    predicted = tuple(_predicted(pricer.price(plan.bucket(w.batch), w), w, bounds) for w in problem.objective.workloads)
    return Explanation(plan.planner, plan.machine, predicted[0].total.source, plan.notes, predicted, tuple(batches))


def diff(before: Plan, after: Plan) -> tuple[Change, ...]:
    """The features that two plans serve differently, by bucket."""
    ways_before, ways_after = _ways(before), _ways(after)
    return tuple(
        Change(*key, ways_before.get(key, ""), ways_after.get(key, ""))
        for key in dict.fromkeys((*ways_before, *ways_after))
        if ways_before.get(key) != ways_after.get(key)
    )


def describe(placements: Sequence[Placement]) -> str:
    """One feature's placements in words: how it is cut, on how many cores or which, and by what strategy."""
    cores = list(dict.fromkeys(core for placement in placements for core in placement.cores))
    shards = len({placement.shard for placement in placements})
    cut = "whole" if shards == 1 else f"{shards} row shards"
    where = f"owned by {cores[0]}" if len(cores) == 1 else f"over {len(cores)} cores"
    split = sum(len(placement.cores) for placement in placements) > shards
    samples = ", batch split" if split else ""
    return f"{cut} {where}{samples}, {'/'.join(sorted({p.strategy for p in placements}))}"


def _ways(plan: Plan) -> dict[tuple[int | None, str], str]:
    found = {}
    for bucket in plan.buckets:
        for feature, placements in _by_feature(bucket).items():
            tunings = "; ".join(dict.fromkeys(_tuning(p.tuning) for p in placements))
            cores = ",".join(dict.fromkeys(core for p in placements for core in p.cores))
            found[bucket.batch_up_to, feature] = f"{describe(placements)}{_fusion(bucket, feature)} [{cores}] {tunings}"
    return found


def _fusion(bucket: Bucket, feature: str) -> str:
    """What becomes of the feature's vectors, when the bucket says more than that they are written."""
    output = bucket.fused
    if output is None:
        return ""
    if all(placement.feature != feature for placement in bucket.stages[-1].placements):
        return f", written before the fused {output.interaction} interaction"
    return f", fused with the {output.interaction} interaction, {output.block} samples at a time"


def _tuning(tuning: Tuning) -> str:
    return f"prefetch {tuning.prefetch_level}+{tuning.prefetch_distance}, block {tuning.block}, {tuning.stores} stores"


def _by_feature(bucket: Bucket) -> dict[str, list[Placement]]:
    found: dict[str, list[Placement]] = defaultdict(list)
    for stage in bucket.stages:
        for placement in stage.placements:
            found[placement.feature].append(placement)
    return found


def _served(pricer: Pricer, bucket: Bucket, start: int, bounds: Mapping[str, float]) -> ServedBatches:
    workload = _workload_for(pricer, bucket, start)
    priced = pricer.price(bucket, workload)
    features = tuple(
        _feature(pricer, bucket, workload, priced, feature, placements)
        for feature, placements in _by_feature(bucket).items()
    )
    predicted = _predicted(priced, workload, bounds)
    return ServedBatches(start, bucket.batch_up_to, bucket.cores, predicted, features)


def _workload_for(pricer: Pricer, bucket: Bucket, start: int) -> Workload:
    """A workload whose batches the bucket serves: one of the objective's, else the first brought into its range."""
    workloads = pricer.problem.objective.workloads
    stop = bucket.batch_up_to
    for workload in workloads:
        if workload.batch >= start and (stop is None or workload.batch <= stop):
            return workload
    batch = stop if stop is not None else max(start, workloads[0].batch)
    return replace(workloads[0], name=f"{workloads[0].name}, batch {batch}", batch=batch)


def _predicted(priced: Priced, workload: Workload, bounds: Mapping[str, float]) -> Predicted:
    bound = bounds.get(workload.name, 0.0)
    return Predicted(workload.name, workload.batch, priced.total, priced.core_seconds, bound)


def _feature(
    pricer: Pricer,
    bucket: Bucket,
    workload: Workload,
    priced: Priced,
    feature: str,
    placements: Sequence[Placement],
) -> ServedFeature:
    table = pricer.table(feature)
    core_seconds: dict[str, float] = defaultdict(float)
    breakdown: dict[str, float] = defaultdict(float)
    for stage in priced.stages:
        for core, parts in stage.items():
            for placement, estimate in parts:
                if placement is not None and placement.feature == feature:
                    core_seconds[core] += estimate.seconds
                    for part, seconds in estimate.breakdown.items():
                        breakdown[part] += seconds
    holders: dict[str, tuple[tuple[int, int], ...]] = {}
    for placement in placements:
        for core in placement.cores:
            holders[core] = (*holders.get(core, ()), (placement.shard.start, placement.shard.stop))
    others = _alternatives(pricer, bucket, workload, priced, feature, placements)
    return ServedFeature(
        feature,
        table.name,
        table.rows,
        table.dim,
        table.nbytes,
        describe(placements) + _fusion(bucket, feature),
        holders,
        placements[0].tuning,
        dict(core_seconds),
        dict(breakdown),
        others,
        _why(others),
    )


def _alternatives(
    pricer: Pricer,
    bucket: Bucket,
    workload: Workload,
    priced: Priced,
    feature: str,
    placements: Sequence[Placement],
) -> tuple[Alternative, ...]:
    """The feature by each strategy, where it is, whole on the idlest core, and on all of the bucket's cores."""
    busy = priced.core_seconds
    idlest = min(busy, key=lambda core: busy[core])
    whole = Placement(feature, pricer.whole(feature), (idlest,), placements[0].strategy, tuning=placements[0].tuning)
    ways: dict[str, list[Placement]] = {}
    for name in pricer.strategies:
        for changed in (
            [replace(p, strategy=name) for p in placements],
            [replace(whole, strategy=name)],
            [replace(whole, strategy=name, cores=bucket.cores)],
        ):
            ways.setdefault(describe(changed), changed)
    ways.pop(describe(placements), None)
    found = []
    for way, changed in ways.items():
        instead = _instead(bucket, feature, changed)
        if _allowed(pricer, instead):
            change = pricer.price(instead, workload).total.seconds - priced.total.seconds
            found.append(Alternative(way, change))
    return tuple(sorted(found, key=lambda other: other.change_s))


def _instead(bucket: Bucket, feature: str, placements: Sequence[Placement]) -> Bucket:
    """`bucket` with `feature` served by `placements` in its first stage, or in one before when that is fused and the
    feature's samples are divided otherwise.
    """
    if bucket.fused is not None and len(bucket.stages) == 1:
        division = (bucket.stages[0].placements[0].cores, bucket.stages[0].placements[0].samples)
        if any((p.cores, p.samples) != division or p.reduce != "none" for p in placements):
            bucket = replace(bucket, stages=(Stage(()), *bucket.stages))
    stages = []
    for at, stage in enumerate(bucket.stages):
        rest = tuple(p for p in stage.placements if p.feature != feature)
        stages.append(replace(stage, placements=(*rest, *(placements if at == 0 else ()))))
    kept: tuple[Stage, ...] = tuple(stage for stage in stages if stage.placements)
    return replace(bucket, stages=kept)


def _allowed(pricer: Pricer, bucket: Bucket) -> bool:
    """Whether what the bucket keeps in private memories fits."""
    try:
        check_private([p for s in bucket.stages for p in s.placements], pricer.problem, pricer.strategies)
    except RecsmithError:
        return False
    return True


def _why(others: Sequence[Alternative]) -> str:
    if not others:
        return "Nothing else fits."
    best = others[0]
    change = f"{abs(best.change_s) * 1e6:.2f} us"
    if best.change_s > 0:
        return f"The next best, {best.way}, would add {change} to the call."
    if best.change_s == 0:
        return f"No other way is faster; {best.way} would take as long."
    return f"Alone, {best.way} is predicted to save {change}: less than the margin, or not found by the planner."
