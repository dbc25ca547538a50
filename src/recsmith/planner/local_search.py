"""Small changes to an assignment, kept while the whole plan's price falls ([ASYM], papers.md A4, step 5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from recsmith.spec import Workload

from .assignment import Assignment, Choice, added, seat
from .candidates import Classes, Option
from .evaluate import Pricer

TRIED_PER_ROUND = 6
LEAST_GAIN = 0.999
"""A change has to bring the price below this part of what it was."""
_PRICED_PIECES = 60_000


def improve(
    pricer: Pricer,
    classes: Classes,
    found: Mapping[str, Sequence[Option]],
    start: Assignment,
    workloads: Sequence[Workload],
) -> Assignment:
    """`start` or something better: features of the busiest core are served otherwise or swapped with smaller ones.

    Changes are ranked by the options' own prices and the most promising ones priced as whole plans. How many
    are priced depends on the problem's size only, so that plans do not depend on the machine that plans.
    """
    current, budget = start, max(20, _PRICED_PIECES // (len(start.choices) * len(classes.of) * len(workloads)))
    price = pricer.seconds(current.bucket(pricer), workloads)
    while budget > 0:
        ranked = sorted(_changes(pricer, classes, found, current), key=lambda change: change[:2])
        better = None
        for *_, changed in ranked[:TRIED_PER_ROUND]:
            budget -= 1
            seconds = pricer.seconds(changed.bucket(pricer), workloads)
            if seconds < LEAST_GAIN * price:
                better, price = changed, seconds
                break
        if better is None:
            break
        current = better
    return current


Change = tuple[float, float, Assignment]


def _changes(
    pricer: Pricer, classes: Classes, found: Mapping[str, Sequence[Option]], current: Assignment
) -> Iterator[Change]:
    """Makespan and sum of loads after each change to a feature of the busiest core."""
    loads = current.loads(classes)
    busiest = max(loads, key=lambda core: loads[core])
    for feature, choice in current.choices.items():
        if busiest in choice.cores:
            yield from _serve_otherwise(pricer, classes, found[feature], current, feature)
            if len(choice.cores) == 1:
                yield from _swap(pricer, classes, current, feature)


def _serve_otherwise(
    pricer: Pricer, classes: Classes, able: Sequence[Option], current: Assignment, feature: str
) -> Iterator[Change]:
    rest = current.without(feature)
    loads, room = rest.loads(classes), rest.room(pricer)
    for option in able:
        cores = seat(pricer, classes, option, loads, room)
        if cores is not None and (option, cores) != (current.choices[feature].option, current.choices[feature].cores):
            after = added(loads, classes, option, cores).values()
            yield max(after), sum(after), rest.choose(Choice(option, cores))


def _swap(pricer: Pricer, classes: Classes, current: Assignment, feature: str) -> Iterator[Change]:
    mine = current.choices[feature]
    for other, theirs in current.choices.items():
        if (
            len(theirs.cores) != 1
            or theirs.cores == mine.cores
            or sum(theirs.option.seconds) >= sum(mine.option.seconds)
        ):
            continue
        swapped = current.choose(Choice(mine.option, theirs.cores)).choose(Choice(theirs.option, mine.cores))
        if _fits(pricer, swapped, (feature, other)):
            after = swapped.loads(classes).values()
            yield max(after), sum(after), swapped


def _fits(pricer: Pricer, assignment: Assignment, features: tuple[str, str]) -> bool:
    rest = assignment
    for feature in features:
        rest = rest.without(feature)
    room = rest.room(pricer)
    for feature in features:
        choice = assignment.choices[feature]
        flow, table = pricer.strategies[choice.option.candidate.strategy], pricer.table(feature)
        if not room.fits(choice.cores[0], flow, table, pricer.whole(feature)):
            return False
        room.place(choice.cores[0], flow, table, pricer.whole(feature))
    return True
