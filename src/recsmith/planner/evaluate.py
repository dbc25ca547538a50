"""What a plan costs under each workload, by whatever cost model: the one evaluation all planners share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from recsmith.cost.near import far_shares, with_far_rows
from recsmith.spec import (
    Access,
    Bucket,
    CostModel,
    Estimate,
    Interval,
    Objective,
    Placement,
    Plan,
    Predicted,
    Problem,
    Shard,
    Stage,
    Strategy,
    Stream,
    Tuning,
    Work,
    Workload,
)

from .joining import Joining

if TYPE_CHECKING:
    from recsmith.spec import Gather, Table

ELEMENT_BYTES = 4

_UNTUNED = Tuning()

Load = list[tuple[Placement | None, Work]]


@dataclass(frozen=True, slots=True)
class Priced:
    """A bucket's price under one workload.

    Attributes:
        total: from call to return.
        stages: for each step between barriers, core id to its placements and what each costs there; None stands
            for adding up partial sums, a step of its own.
    """

    total: Estimate
    stages: tuple[dict[str, tuple[tuple[Placement | None, Estimate], ...]], ...]

    @property
    def core_seconds(self) -> dict[str, float]:
        """Busy time of each core over all stages."""
        busy: dict[str, float] = defaultdict(float)
        for stage in self.stages:
            for core, parts in stage.items():
                busy[core] += sum(estimate.seconds for _, estimate in parts)
        return dict(busy)


class Pricer:
    """Prices plans of one problem. Works are made once and reused, so that cost models can recognise them.

    Args:
        problem: what the plans are for.
        strategies: by name, those that plans may use.
        cost: the cost model.

    Attributes:
        far: table name to the part of its rows that lies in the host's memory; none where everything fits the device's.
    """

    def __init__(self, problem: Problem, strategies: Mapping[str, Strategy], cost: CostModel) -> None:
        self.problem = problem
        self.strategies = strategies
        self.cost = cost
        self.ops: dict[str, Gather] = {op.feature: op for op in problem.gathers}
        self._tables = {table.name: table for table in problem.model.tables}
        self._apart_bytes = ELEMENT_BYTES * problem.model.width
        self._groups: dict[int, tuple[tuple[str, ...], ...]] = {}
        self._accesses: dict[tuple[str, str], Access] = {}
        self._works: dict[tuple[object, ...], Work] = {}
        self._near: dict[int, tuple[Work, Work]] = {}
        self.joining = Joining(problem)
        self.far = far_shares(problem.platform, problem.model.tables, _asked(problem))

    def table(self, feature: str) -> Table:
        """The table that `feature` reads."""
        return self._tables[self.ops[feature].table]

    def whole(self, feature: str) -> Shard:
        """All rows of the feature's table."""
        return Shard(self.ops[feature].table, 0, self.table(feature).rows)

    def able(self, feature: str, strategy: str) -> bool:
        """Whether `strategy` can serve the feature: rows in the host's memory are read one by one, where they are."""
        near = self.ops[feature].table not in self.far
        return near or not self.strategies[strategy].resident(self.table(feature), self.whole(feature))

    @property
    def notes(self) -> tuple[str, ...]:
        """What lies across the bus, in a sentence."""
        if not self.far:
            return ()
        tables = [table for table in self.problem.model.tables if table.name in self.far]
        nbytes = sum(self.far[table.name] * table.nbytes for table in tables)
        names = ", ".join(table.name for table in tables[:4]) + (" ..." if len(tables) > 4 else "")
        return (f"{nbytes / 1e9:.1f} GB of {len(tables)} tables ({names}) are read from the host's memory.",)

    def groups(self, strategy: str) -> tuple[tuple[str, ...], ...]:
        """The groups of cores that `strategy` takes: each core alone, or as many as keep a shard together."""
        size = self.strategies[strategy].together
        if size not in self._groups:
            self._groups[size] = self.problem.platform.groups(size)
        return self._groups[size]

    def work(
        self,
        feature: str,
        shard: Shard,
        strategy: str,
        samples: float,
        workload: Workload,
        tuning: Tuning = _UNTUNED,
        *,
        interleaved: bool,
    ) -> Work:
        """What serving `samples` samples of `workload` from `shard` moves; the same object for the same question."""
        key = (feature, shard.start, shard.stop, strategy, tuning, samples, workload.name, workload.batch, interleaved)
        if key not in self._works:
            named = (workload.name, feature)
            if named not in self._accesses:
                self._accesses[named] = workload.access(feature)
            flow = self.strategies[strategy]
            work = flow.work(self.ops[feature], self.table(feature), shard, samples, self._accesses[named])
            work = with_far_rows(work, self.far.get(shard.table, 0.0))
            self._works[key] = msgspec.structs.replace(
                work, tuning=tuning, interleaved=interleaved, apart_bytes=self._apart_bytes
            )
        return self._works[key]

    def works(self, placement: Placement, workload: Workload, *, interleaved: bool) -> list[tuple[str, Work]]:
        """The cores of `placement` that get samples of a batch, and what each of them does with its own."""
        counts = _samples(placement.samples, len(placement.cores), workload.batch)
        return [
            (
                core,
                self.work(
                    placement.feature,
                    placement.shard,
                    placement.strategy,
                    count,
                    workload,
                    placement.tuning,
                    interleaved=interleaved,
                ),
            )
            for core, count in zip(placement.cores, counts, strict=True)
            if count > 0
        ]

    def loads(self, works: Mapping[str, Sequence[Work]]) -> dict[str, tuple[Estimate, ...]]:
        """Seconds of each work on each core when all run at the same time."""
        return self.cost.loads(self.problem.platform, works)

    def price(self, bucket: Bucket, workload: Workload) -> Priced:
        """The bucket's price for batches of `workload`."""
        loads = [load for stage in bucket.stages for load in self._stage(stage, workload)]
        if self.joining.present:
            loads = self._joined(bucket, loads, workload)
        together: dict[str, list[Work]] = defaultdict(list)
        for load in loads:
            for core, parts in load.items():
                together[core] += [work for _, work in parts]
        platform = self.problem.platform
        priced = {core: iter(found) for core, found in self.loads(together).items()}
        stages = [
            {core: tuple((placement, next(priced[core])) for placement, _ in parts) for core, parts in load.items()}
            for load in loads
        ]
        totals = [self.cost.total(platform, _estimates(stage)) for stage in stages]
        return Priced(_one_after_the_other(totals), tuple(stages))

    def seconds(self, bucket: Bucket, workloads: Sequence[Workload]) -> float:
        """The objective's aim over `workloads`, all served by `bucket`."""
        return aim(self.problem.objective, {w.name: self.price(bucket, w).total.seconds for w in workloads})

    def _stage(self, stage: Stage, workload: Workload) -> list[dict[str, Load]]:
        """The stage's look-ups and, when there are partial sums, the step after the barrier that adds them."""
        load: dict[str, Load] = defaultdict(list)
        partial: Counter[str] = Counter()
        # Cores that divide the batch alike write whole samples; all others write beside each other.
        divisions = {(p.cores, p.samples) for p in stage.placements}
        for placement in stage.placements:
            for core, work in self.works(placement, workload, interleaved=len(divisions) > 1):
                load[core].append((placement, work))
            if placement.reduce == "add":
                partial[placement.feature] += 1
        if not partial:
            return [load]
        adding = self.adding(partial, len(load), workload)
        return [load, {core: [(None, adding)] for core in load}]

    def _joined(self, bucket: Bucket, loads: Sequence[dict[str, Load]], workload: Workload) -> list[dict[str, Load]]:
        """`loads` with the interaction: in the last step when it is fused, whose vectors stay near then; else after."""
        vectors = len(self.problem.model.pooled)
        if bucket.fused is None:
            cores = bucket.cores
            works = self.joining.works(dict.fromkeys(cores, workload.batch / len(cores)), vectors)
            return [*loads, {core: [(None, work)] for core, work in works.items()}]
        *before, last = loads
        first = bucket.stages[-1].placements[0]
        counts = _samples(first.samples, len(first.cores), workload.batch)
        samples = {core: float(count) for core, count in zip(first.cores, counts, strict=True) if count > 0}
        works = self.joining.works(samples, vectors - len(bucket.stages[-1].placements))
        near: dict[str, Load] = {core: [(p, self.kept_near(work)) for p, work in parts] for core, parts in last.items()}
        return [*before, {core: [*parts, (None, works[core])] for core, parts in near.items()}]

    def kept_near(self, work: Work) -> Work:
        """`work` without its output; the same object for the same one."""
        if id(work) not in self._near:
            self._near[id(work)] = (work, msgspec.structs.replace(work, written_bytes=0.0, interleaved=False))
        return self._near[id(work)][1]

    def adding(self, partial: Mapping[str, int], cores: int, workload: Workload) -> Work:
        """One core's part of adding up partial sums: each is read, and the first is written."""
        key = ("adding", tuple(partial.items()), cores, workload.name, workload.batch)
        if key not in self._works:
            vectors = {f: workload.batch * self.table(f).dim * ELEMENT_BYTES / cores for f in partial}
            self._works[key] = Work(
                streams=tuple(Stream("global", n * vectors[f], f"partial sums of {f}") for f, n in partial.items()),
                written_bytes=sum(vectors.values()),
                flops=sum(vectors[f] * n / ELEMENT_BYTES for f, n in partial.items()),
            )
        return self._works[key]


def _asked(problem: Problem) -> dict[str, float]:
    """Table name to the most look-ups a sample that any workload asks for."""
    found: dict[str, float] = defaultdict(float)
    for op in problem.gathers:
        found[op.table] += max(w.access(op.feature).pooling_factor for w in problem.objective.workloads)
    return found


def predict(plan: Plan, pricer: Pricer, lower_bounds: Mapping[str, float] | None = None) -> tuple[Predicted, ...]:
    """What the cost model expects of `plan` under each workload of its objective.

    Args:
        plan: the plan.
        pricer: of the plan's problem.
        lower_bounds: workload name to seconds.
    """
    found = []
    for workload in pricer.problem.objective.workloads:
        priced = pricer.price(plan.bucket(workload.batch), workload)
        bound = (lower_bounds or {}).get(workload.name, 0.0)
        found.append(Predicted(workload.name, workload.batch, priced.total, priced.core_seconds, bound))
    return tuple(found)


def evaluate(plan: Plan, problem: Problem, strategies: Mapping[str, Strategy], cost: CostModel) -> Plan:
    """`plan` with its predictions made anew, for instance after it was edited."""
    pricer = Pricer(problem, strategies, cost)
    bounds = {predicted.workload: predicted.lower_bound_s for predicted in plan.predicted}
    return msgspec.structs.replace(plan, predicted=predict(plan, pricer, bounds))


def aim(objective: Objective, seconds: Mapping[str, float]) -> float:
    """Seconds by workload name made one number, as the objective asks."""
    if objective.aim == "worst":
        return max(seconds.values())
    weights = objective.weights or (1.0,) * len(objective.workloads)
    named = {w.name: weight for w, weight in zip(objective.workloads, weights, strict=True)}
    return sum(named[name] * s for name, s in seconds.items()) / sum(named[name] for name in seconds)


@lru_cache(maxsize=4096)
def _samples(interval: Interval, cores: int, batch: int) -> tuple[int, ...]:
    """How many samples of a batch each of `cores` cores gets."""
    return tuple(len(part.samples(batch)) for part in interval.split(cores))


def _estimates(stage: Mapping[str, Iterable[tuple[Placement | None, Estimate]]]) -> dict[str, list[Estimate]]:
    return {core: [estimate for _, estimate in parts] for core, parts in stage.items()}


def _one_after_the_other(totals: Sequence[Estimate]) -> Estimate:
    """One call: `call` is paid once, everything else by each stage."""
    parts: dict[str, float] = defaultdict(float)
    for total in totals:
        for part, seconds in total.breakdown.items():
            parts[part] = max(parts[part], seconds) if part == "call" else parts[part] + seconds
    return Estimate(sum(parts.values()), dict(parts), totals[0].source)
