"""Asymmetric mapping by longest processing time first and local search ([ASYM], papers.md A4, reconstruction)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from recsmith.spec import Bucket, CostModel, Plan, PlanError, Problem, Strategy, Workload

from .assignment import Assignment, Choice, added, seat
from .bound import lower_bounds
from .candidates import Classes, Option, options, undominated
from .draft import drafted, with_gap
from .evaluate import Pricer
from .local_search import improve
from .room import Room, nothing_fits
from .symmetric import replicated
from .tuning import tune

_HALVINGS = 60
_FIRST_STEP = 1e-3


class Greedy:
    """Tables owned, cut by rows, split by samples or replicated, whichever keeps the busiest core short."""

    name = "greedy"

    def plan(self, problem: Problem, strategies: Mapping[str, Strategy], cost: CostModel) -> Plan:
        """The better of an asymmetric and the symmetric plan, by predicted time.

        Raises:
            PlanError: a table fits with none of the strategies.
        """
        pricer = Pricer(problem, strategies, cost)
        classes, workloads = Classes(pricer), problem.objective.workloads
        able = options(pricer, classes, workloads)
        assignment = assigned(pricer, classes, best_options(able), workloads)
        bucket = tune(assignment.bucket(pricer), pricer, workloads)
        bucket, note = better_of(pricer, bucket, workloads)
        return with_gap(drafted(pricer, self.name, (bucket,), (note,), lower_bounds(pricer, classes, able, workloads)))


def best_options(able: Mapping[str, Sequence[Option]]) -> dict[str, tuple[Option, ...]]:
    """Feature to those of its options that are worth a thought."""
    return {feature: undominated(found) for feature, found in able.items()}


def better_of(pricer: Pricer, bucket: Bucket, workloads: Sequence[Workload]) -> tuple[Bucket, str]:
    """The better of `bucket` and the symmetric mapping under `workloads`, and a sentence that says which and why."""
    seconds = pricer.seconds(bucket, workloads)
    symmetric = symmetric_or_none(pricer, workloads)
    if symmetric is None:
        return bucket, f"asymmetric, {seconds * 1e6:.2f} us; replicating every table does not fit."
    other = pricer.seconds(symmetric, workloads)
    if seconds < other:
        return bucket, f"asymmetric, {seconds * 1e6:.2f} us; symmetric would take {other * 1e6:.2f} us."
    return symmetric, f"symmetric, {other * 1e6:.2f} us; the asymmetric plan would take {seconds * 1e6:.2f} us."


def symmetric_or_none(pricer: Pricer, workloads: Sequence[Workload]) -> Bucket | None:
    """The symmetric mapping on all cores, or None when it does not fit."""
    try:
        return replicated(pricer, [core.id for core in pricer.problem.platform.cores], workloads)
    except PlanError:
        return None


def assigned(
    pricer: Pricer, classes: Classes, found: Mapping[str, Sequence[Option]], workloads: Sequence[Workload]
) -> Assignment:
    """Longest first, then local search with whole plans priced.

    Raises:
        PlanError: a table fits with none of the strategies.
    """
    starts = [longest_first(pricer, classes, found)]
    whole = {feature: [o for o in able if o.candidate.shards == 1] for feature, able in found.items()}
    # Without row shards no barrier comes before the adding of partial sums, which pieces alone do not show.
    if all(whole.values()):
        with suppress(PlanError):
            starts.append(longest_first(pricer, classes, whole))
    best = min(starts, key=lambda start: pricer.seconds(start.bucket(pricer), workloads))
    return improve(pricer, classes, found, best, workloads)


def longest_first(pricer: Pricer, classes: Classes, found: Mapping[str, Sequence[Option]]) -> Assignment:
    """Features by falling time, each by the option and on the cores that promise the shortest makespan.

    What is promised is the larger of the busiest core so far and the fair share of all work, that which is
    still to be placed and the rent of private memory included; so a table is only cut or replicated when it would
    stick out otherwise, and does not take private memory that saves more elsewhere.

    Raises:
        PlanError: a table fits with none of the strategies.
    """
    rent = rent_s_per_byte(found, Room(pricer.problem.platform).local_bytes)
    best = {feature: min(o.total_s for o in able) for feature, able in found.items()}
    remaining = sum(best.values())
    assignment, loads = Assignment(), dict.fromkeys(classes.of, 0.0)
    for feature in sorted(found, key=lambda f: -best[f]):
        remaining -= best[feature]
        room = assignment.room(pricer)
        ranked = []
        for at, option in enumerate(found[feature]):
            cores = seat(pricer, classes, option, loads, room)
            if cores is not None:
                after = added(loads, classes, option, cores).values()
                cost = sum(after) + rent * option.all_local_bytes
                ranked.append((max(max(after), (cost + remaining) / len(loads)), cost, option.local_bytes, at, cores))
        if not ranked:
            raise nothing_fits(feature, pricer.table(feature), tuple(pricer.strategies), len(loads))
        *_, at, cores = min(ranked)
        assignment = assignment.choose(Choice(found[feature][at], cores))
        loads = added(loads, classes, found[feature][at], cores)
    return assignment


def rent_s_per_byte(found: Mapping[str, Sequence[Option]], local_bytes: int) -> float:
    """What a byte of private memory has to save, so that the features that pay it fit in `local_bytes` together."""

    def wanted_bytes(rent: float) -> int:
        best = [min(able, key=lambda o: o.total_s + rent * o.all_local_bytes) for able in found.values() if able]
        return sum(option.all_local_bytes for option in best)

    low, high = 0.0, 1.0
    if wanted_bytes(low) <= local_bytes:
        return low
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5 if low > 0 else high * _FIRST_STEP
        low, high = (low, middle) if wanted_bytes(middle) <= local_bytes else (middle, high)
    return high
