"""Symmetric mapping: every core holds every table and serves its part of the batch ([ASYM], papers.md A4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from recsmith.spec import Bucket, CostModel, Placement, Plan, Problem, Stage, Strategy, Workload

from .draft import drafted
from .evaluate import Pricer, aim
from .room import Room, local_bytes, nothing_fits
from .tuning import tune

WORTH_IT = 0.97
"""A strategy replaces an earlier one of the menu when it takes less than this part of its time."""


class Symmetric:
    """The baseline: the best strategy for each table, all cores, equal parts of the batch."""

    name = "symmetric"

    def plan(self, problem: Problem, strategies: Mapping[str, Strategy], cost: CostModel) -> Plan:
        """One bucket, one placement a feature, spread over all cores.

        Raises:
            PlanError: a table fits with none of the strategies.
        """
        pricer = Pricer(problem, strategies, cost)
        cores = [core.id for core in problem.platform.cores]
        bucket = replicated(pricer, cores, problem.objective.workloads)
        return drafted(pricer, self.name, (bucket,))


def replicated(pricer: Pricer, cores: Sequence[str], workloads: Sequence[Workload]) -> Bucket:
    """Every feature on all of `cores`, by the strategy that is cheapest for `workloads` and fits.

    Private memory goes to the tables that save most time per byte of it ([ASYM], papers.md A4).

    Raises:
        PlanError: a table fits with none of the strategies.
    """
    prices = {name: _prices(pricer, cores, name, workloads) for name in pricer.strategies}
    room = Room(pricer.problem.platform)
    chosen = {
        feature: _cheapest(feature, prices, [n for n in prices if _kept(pricer, feature, n) == 0])
        for feature in pricer.ops
    }
    for feature, name in _wishes(pricer, chosen, prices):
        current = chosen[feature]
        better = not current or prices[name][feature] < WORTH_IT * prices[current][feature]
        if better and _place(pricer, room, cores, feature, name):
            chosen[feature] = name
    for feature, name in chosen.items():
        if not name:
            raise nothing_fits(feature, pricer.table(feature), tuple(pricer.strategies), 1)
    stage = Stage(tuple(Placement(f, pricer.whole(f), tuple(cores), name) for f, name in chosen.items()))
    return tune(Bucket(None, (stage,)), pricer, workloads)


def _prices(pricer: Pricer, cores: Sequence[str], strategy: str, workloads: Sequence[Workload]) -> dict[str, float]:
    """Seconds on one core of each feature that can use `strategy`, when all that can do.

    The others are served by the first strategy that they can use, so that caches are as busy as they will be.
    """
    by = {feature: _first_able(pricer, cores, feature, (strategy, *pricer.strategies)) for feature in pricer.ops}
    able = {feature for feature, name in by.items() if name == strategy}
    stage = Stage(tuple(Placement(f, pricer.whole(f), tuple(cores), name) for f, name in by.items() if name))
    seconds: dict[str, dict[str, float]] = defaultdict(dict)
    for workload in workloads if able else ():
        for parts in pricer.price(Bucket(None, (stage,)), workload).stages[0].values():
            for placement, estimate in parts:
                if placement is not None and placement.feature in able:
                    slowest = max(seconds[placement.feature].get(workload.name, 0.0), estimate.seconds)
                    seconds[placement.feature][workload.name] = slowest
    return {feature: aim(pricer.problem.objective, found) for feature, found in seconds.items()}


def _first_able(pricer: Pricer, cores: Sequence[str], feature: str, names: Sequence[str]) -> str:
    """The first of `names` that takes `cores` and with which the feature's table fits their empty private memories; ""
    for none."""
    room = Room(pricer.problem.platform)
    table, shard = pricer.table(feature), pricer.whole(feature)

    def able(name: str) -> bool:
        whole = {core for group in pricer.groups(name) if set(group) <= set(cores) for core in group} == set(cores)
        fits = pricer.able(feature, name)
        return whole and fits and all(room.fits(core, pricer.strategies[name], table, shard) for core in cores)

    return next((name for name in names if able(name)), "")


def _cheapest(feature: str, prices: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> str:
    """The cheapest of `names` for `feature`; earlier ones keep the lead unless they lose clearly; "" for none."""
    best = ""
    for name in names:
        if feature in prices[name] and (not best or prices[name][feature] < WORTH_IT * prices[best][feature]):
            best = name
    return best


def _wishes(
    pricer: Pricer, chosen: Mapping[str, str], prices: Mapping[str, Mapping[str, float]]
) -> list[tuple[str, str]]:
    """Features and the strategies that would keep them in private memory, most time saved per byte first."""
    wishes = []
    for feature, current in chosen.items():
        for name in prices:
            nbytes = _kept(pricer, feature, name)
            if nbytes > 0 and feature in prices[name]:
                saved = prices[current][feature] - prices[name][feature] if current else float("inf")
                wishes.append((-saved / nbytes, prices[name][feature], feature, name))
    return [(feature, name) for *_, feature, name in sorted(wishes)]


def _place(pricer: Pricer, room: Room, cores: Sequence[str], feature: str, strategy: str) -> bool:
    """Whether all cores have room for the feature's table; if so, it is taken."""
    flow, table, shard = pricer.strategies[strategy], pricer.table(feature), pricer.whole(feature)
    if not all(room.fits(core, flow, table, shard) for core in cores):
        return False
    for core in cores:
        room.place(core, flow, table, shard)
    return True


def _kept(pricer: Pricer, feature: str, strategy: str) -> int:
    return local_bytes(pricer.strategies[strategy], pricer.table(feature), pricer.whole(feature))
