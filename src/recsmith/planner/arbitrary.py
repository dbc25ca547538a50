"""A valid plan drawn at random: what planners are compared with (ours)."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from recsmith.spec import CostModel, Plan, Problem, Strategy

from .assignment import Assignment, Choice
from .candidates import Classes, Option, options, shards_of
from .draft import drafted
from .evaluate import Pricer
from .room import Room, nothing_fits
from .tuning import tune


def arbitrary(problem: Problem, strategies: Mapping[str, Strategy], cost: CostModel, seed: int) -> Plan:
    """One bucket in which every feature is served in any way that fits, by any cores; tuned as planners do.

    Raises:
        PlanError: a table fits with none of the strategies.
    """
    random = Random(seed)
    pricer = Pricer(problem, strategies, cost)
    classes, workloads = Classes(pricer), problem.objective.workloads
    assignment = Assignment()
    able = options(pricer, classes, workloads)
    for feature in random.sample(sorted(able), len(able)):
        room = assignment.room(pricer)
        ways = random.sample(able[feature], len(able[feature]))
        found = ((option, _seats(pricer, option, room, random)) for option in ways)
        choice = next((Choice(option, cores) for option, cores in found if cores), None)
        if choice is None:
            raise nothing_fits(feature, pricer.table(feature), tuple(strategies), len(classes.of))
        assignment = assignment.choose(choice)
    return drafted(pricer, "arbitrary", (tune(assignment.bucket(pricer), pricer, workloads),))


def _seats(pricer: Pricer, option: Option, room: Room, random: Random) -> tuple[str, ...]:
    """A core of its own for each piece of `option`, any that have room; none when there are too few."""
    candidate = option.candidate
    flow, table = pricer.strategies[candidate.strategy], pricer.table(candidate.feature)
    cores: list[str] = []
    for shard in shards_of(pricer, candidate):
        able = [
            group
            for group in pricer.groups(candidate.strategy)
            if group[0] not in cores and all(room.fits(core, flow, table, shard) for core in group)
        ]
        wanted = candidate.split // flow.together
        if len(able) < wanted:
            return ()
        cores += [core for group in random.sample(able, wanted) for core in group]
    return tuple(cores)
