"""Who serves what while a planner is still thinking: each feature's candidate and the cores of its pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from recsmith.spec import Bucket, Placement, Stage

from .candidates import Classes, Option, placements, shards_of
from .evaluate import Pricer
from .room import Room


@dataclass(frozen=True, slots=True)
class Choice:
    """A feature's option and one core for each of its pieces."""

    option: Option
    cores: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assignment:
    """Feature to choice; grows into a bucket. Never changed in place."""

    choices: Mapping[str, Choice] = field(default_factory=dict)

    def choose(self, choice: Choice) -> Assignment:
        """This, with the choice's feature served by it."""
        return Assignment({**self.choices, choice.option.candidate.feature: choice})

    def without(self, feature: str) -> Assignment:
        """This, with `feature` unserved."""
        return Assignment({f: choice for f, choice in self.choices.items() if f != feature})

    def bucket(self, pricer: Pricer) -> Bucket:
        """All choices side by side, features in the model's order."""
        made: list[Placement] = []
        for feature in pricer.ops:
            choice = self.choices[feature]
            made += placements(pricer, choice.option.candidate, choice.cores)
        return Bucket(None, (Stage(tuple(made)),))

    def room(self, pricer: Pricer) -> Room:
        """What is left of private memories."""
        room = Room(pricer.problem.platform)
        for choice in self.choices.values():
            candidate = choice.option.candidate
            flow, table = pricer.strategies[candidate.strategy], pricer.table(candidate.feature)
            for at, shard in enumerate(shards_of(pricer, candidate)):
                for core in choice.cores[at * candidate.split : (at + 1) * candidate.split]:
                    room.place(core, flow, table, shard)
        return room

    def loads(self, classes: Classes) -> dict[str, float]:
        """Seconds of each core by the options' own prices."""
        loads = dict.fromkeys(classes.of, 0.0)
        for choice in self.choices.values():
            for core in choice.cores:
                loads[core] += choice.option.seconds[classes.of[core]]
        return loads


def seat(
    pricer: Pricer, classes: Classes, option: Option, loads: Mapping[str, float], room: Room
) -> tuple[str, ...] | None:
    """A core of its own for each piece of `option`, those that would be done soonest; None when there is no room."""
    candidate = option.candidate
    flow, table = pricer.strategies[candidate.strategy], pricer.table(candidate.feature)

    def done_s(group: tuple[str, ...]) -> float:
        return max(loads[core] + option.seconds[classes.of[core]] for core in group)

    free = sorted(pricer.groups(candidate.strategy), key=done_s)
    cores: list[str] = []
    for shard in shards_of(pricer, candidate):
        able = [
            group
            for group in free
            if group[0] not in cores and all(room.fits(core, flow, table, shard) for core in group)
        ]
        wanted = candidate.split // flow.together
        if len(able) < wanted:
            return None
        cores += [core for group in able[:wanted] for core in group]
    return tuple(cores)


def added(loads: Mapping[str, float], classes: Classes, option: Option, cores: Sequence[str]) -> dict[str, float]:
    """`loads` with the option's pieces on `cores`."""
    more = dict(loads)
    for core in cores:
        more[core] += option.seconds[classes.of[core]]
    return more
