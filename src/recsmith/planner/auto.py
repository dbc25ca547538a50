"""Chooses the mapping and the number of cores for each range of batch sizes by predicted time (ours)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from msgspec.structs import replace

from recsmith.spec import Bucket, CostModel, Plan, PlanError, Problem, Strategy, UnavailableError, Workload

from .bound import lower_bounds
from .candidates import Classes, options
from .crossover import largest_batch
from .draft import drafted, with_gap
from .evaluate import Pricer
from .fused import fused, fused_beside
from .greedy import assigned, best_options, symmetric_or_none
from .ilp import solved
from .symmetric import replicated
from .tuning import tune

MARGIN = 0.25
"""An asymmetric plan, or one core instead of all, has to be predicted faster than the symmetric one by this part: the
symmetric plan cannot go wrong by imbalance, while predicted gains of up to a fifth came out as losses (2-core AMD EPYC
26/2/1, six shapes, 2026-11-21, benchmarks/prediction.py)."""
HANDOFFS = 4.0
"""It also has to gain so many hand-offs' worth of time, which vary by as much."""
ILP_TIME_LIMIT_S = 2.0
MIDDLE_BATCH = 64
"""Large enough for several cores, small enough for output to stay in private caches."""


@dataclass(frozen=True, slots=True)
class Range:
    """What serves the batches near `batch`.

    Attributes:
        bounds: workload name to its lower bound in seconds.
    """

    batch: int
    bucket: Bucket
    notes: tuple[str, ...]
    bounds: Mapping[str, float]


class Auto:
    """Symmetric unless something else is predicted to win clearly; small batches stay on the caller's thread."""

    name = "auto"

    def plan(self, problem: Problem, strategies: Mapping[str, Strategy], cost: CostModel) -> Plan:
        """A bucket for each batch size of the objective that wants another mapping, and one for small batches.

        Raises:
            PlanError: a table fits with none of the strategies.
        """
        pricer = Pricer(problem, strategies, cost)
        classes = Classes(pricer)
        by_batch: dict[int, list[Workload]] = defaultdict(list)
        for workload in problem.objective.workloads:
            by_batch[workload.batch].append(workload)
        ranges = [_range(pricer, classes, by_batch[batch]) for batch in sorted(by_batch)]
        ranges, notes = _with_small_batches(pricer, ranges, by_batch[ranges[0].batch])
        bounds = {name: seconds for each in ranges for name, seconds in each.bounds.items()}
        notes += [note for each in ranges for note in each.notes]
        return with_gap(drafted(pricer, self.name, _buckets(ranges), notes, bounds))


def _range(pricer: Pricer, classes: Classes, workloads: Sequence[Workload]) -> Range:
    """The best mapping on all cores for workloads of one batch size."""
    batch = workloads[0].batch
    able = options(pricer, classes, workloads)
    bounds = lower_bounds(pricer, classes, able, workloads)
    symmetric = symmetric_or_none(pricer, workloads)
    if len(classes.of) == 1 and symmetric is not None:
        return Range(batch, _better(pricer, symmetric, workloads), (), bounds)
    found = {} if symmetric is None else {"symmetric": symmetric}
    notes: list[str] = []
    try:
        found["ilp"], notes = solved(pricer, classes, able, workloads, ILP_TIME_LIMIT_S)
    except UnavailableError as error:
        notes = [f"Planner 'ilp' was left out: {error.problem}."]
        greedy = assigned(pricer, classes, best_options(able), workloads)
        found["greedy"] = tune(greedy.bucket(pricer), pricer, workloads)
    found |= _with_fusion(pricer, found)
    prices = {name: pricer.seconds(bucket, workloads) for name, bucket in found.items()}
    best = min(prices, key=lambda name: prices[name])
    even = [name for name in ("symmetric", "fused") if name in prices]
    balanced = min(even, key=lambda name: prices[name], default=best)
    if not _wins(prices[best], prices[balanced], pricer):
        best = balanced
    said = ", ".join(f"{name} {seconds * 1e6:.2f} us" for name, seconds in prices.items())
    return Range(batch, found[best], (f"Batch {batch}: {best} ({said}).", *notes[1:]), bounds)


def _with_fusion(pricer: Pricer, found: Mapping[str, Bucket]) -> dict[str, Bucket]:
    """The symmetric mapping fused with the interaction, and owned tables before the others, which are fused."""
    symmetric = found.get("symmetric")
    if symmetric is None or not pricer.joining.present:
        return {}
    made = {"fused": fused(symmetric, pricer)}
    for name in ("ilp", "greedy"):
        beside = fused_beside(found[name], symmetric, pricer) if name in found else None
        if beside is not None:
            made[f"{name}, rest fused"] = beside
    return made


def _better(pricer: Pricer, bucket: Bucket, workloads: Sequence[Workload]) -> Bucket:
    """A symmetric `bucket` fused with the interaction where that is predicted to be no slower."""
    if not pricer.joining.present:
        return bucket
    made = fused(bucket, pricer)
    return made if pricer.seconds(made, workloads) <= pricer.seconds(bucket, workloads) else bucket


def _wins(seconds: float, symmetric_s: float, pricer: Pricer) -> bool:
    """Whether a gain is large, and larger than what hand-offs vary by."""
    gain = symmetric_s - seconds
    if "launched" in pricer.problem.platform.capabilities:
        # Both are handed over in the same way.
        return gain > MARGIN * symmetric_s
    return gain > MARGIN * symmetric_s and gain > HANDOFFS * pricer.problem.platform.overheads.handoff_s


def _with_small_batches(
    pricer: Pricer, ranges: list[Range], smallest: Sequence[Workload]
) -> tuple[list[Range], list[str]]:
    """`ranges` with batches up to the crossover on one core, the caller's, and beyond it symmetric ones as long as
    they are predicted to be faster than what the smallest batch of the objective gets.
    """
    platform = pricer.problem.platform
    cores = [core.id for core in platform.cores]
    if len(cores) == 1 or "launched" in platform.capabilities:
        return ranges, []
    try:
        ones = [replace(w, batch=1) for w in smallest]
        single = _better(pricer, replicated(pricer, cores[:1], ones), ones)
    except PlanError:
        return ranges, ["Small batches are not kept on one core: its private memory cannot hold all tables."]
    middles = [replace(w, batch=MIDDLE_BATCH) for w in smallest]
    even = symmetric_or_none(pricer, middles)
    several = ranges[0].bucket if even is None else _better(pricer, even, middles)
    crossover = largest_batch(pricer, single, several, smallest, margin=MARGIN)
    # A single sample stays with the caller unless several cores promise as much.
    crossover = crossover or largest_batch(pricer, single, several, smallest, most=1, margin=-MARGIN)
    kept = [each for each in ranges if each.batch > crossover]
    bounds = {name: s for each in ranges if each.batch <= crossover for name, s in each.bounds.items()}
    below = kept[0].batch - 1 if kept else None
    middle = largest_batch(pricer, several, kept[0].bucket, smallest, below) if kept else None
    if middle is None or middle > crossover:
        size = middle or 4 * crossover
        kept = [Range(size, replace(several, batch_up_to=middle), (), {}), *kept]
    if crossover == 0:
        return kept, ["Even batches of one sample are predicted to gain from several cores."]
    small = "Single samples" if crossover == 1 else f"Batches of up to {crossover} samples"
    note = f"{small} stay on the caller's thread, where the hand-off would cost more."
    return [Range(crossover, replace(single, batch_up_to=crossover), (), bounds), *kept], [note]


def _buckets(ranges: Sequence[Range]) -> list[Bucket]:
    """One bucket a range, up to the geometric middle between its size and the next; equal neighbours become one."""
    limits = [a.bucket.batch_up_to or round((a.batch * b.batch) ** 0.5) for a, b in pairwise(ranges)]
    found: list[Bucket] = []
    for each, limit in zip(ranges, [*limits, None], strict=True):
        bucket = replace(each.bucket, batch_up_to=limit)
        if found and found[-1].stages == bucket.stages:
            found.pop()
        found.append(bucket)
    return found
