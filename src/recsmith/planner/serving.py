"""Which computed tables are finished beforehand, wholly or in part, in the memory there is (ours)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recsmith.spec import CapacityError, Serving


@dataclass(frozen=True, slots=True)
class Option:
    """One way to serve one table.

    Attributes:
        nbytes: of parameters and finished rows that it keeps in memory.
        seconds: of computing, a batch.
    """

    serving: Serving
    nbytes: int
    seconds: float


def choose(options: Mapping[str, Sequence[Option]], room_bytes: int) -> tuple[Option, ...]:
    """One option a table, together in `room_bytes`: little time in all.

    From the fewest bytes on, the step that saves most seconds a byte is taken, as long as one fits. Only steps between
    neighbours of each table's lower convex hull are considered, so that what a step saves a byte falls from one to the
    next; the result is the best but for what the last step that did not fit would have saved.

    Raises:
        CapacityError: not even the smallest options fit.
    """
    hulls = {table: _hull(each) for table, each in options.items()}
    at = dict.fromkeys(hulls, 0)
    left = room_bytes - sum(hull[0].nbytes for hull in hulls.values())
    if left < 0:
        raise CapacityError(
            "plan",
            f"computed tables take {room_bytes - left:,} bytes at least; {max(room_bytes, 0):,} are left to them",
            "Allow more memory, or hold fewer features so.",
        )
    steps = [(_worth(hull[i], hull[i + 1]), table, i) for table, hull in hulls.items() for i in range(len(hull) - 1)]
    for _, table, i in sorted(steps, key=lambda step: (-step[0], step[1], step[2])):
        more = hulls[table][i + 1].nbytes - hulls[table][i].nbytes
        if at[table] == i and more <= left:
            at[table], left = i + 1, left - more
    return tuple(hull[at[table]] for table, hull in hulls.items())


def _hull(options: Sequence[Option]) -> list[Option]:
    """The options that are best for some price of a byte, fewest bytes first."""
    found: list[Option] = []
    for option in sorted(options, key=lambda each: (each.nbytes, each.seconds)):
        if found and option.seconds >= found[-1].seconds:
            continue
        while len(found) > 1 and _worth(found[-2], found[-1]) <= _worth(found[-1], option):
            found.pop()
        found.append(option)
    return found


def _worth(less: Option, more: Option) -> float:
    return (less.seconds - more.seconds) / (more.nbytes - less.nbytes)
