"""The integer programme: which option serves each feature, and on which cores its pieces lie."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsmith.spec import PlanError, UnavailableError

from .assignment import Assignment, Choice
from .candidates import Classes, Option
from .evaluate import Pricer
from .room import Room

_MICRO = 1e6
"""Loads enter in microseconds: solvers' tolerances are made for numbers near one."""
_GAP = 0.005


@dataclass(frozen=True, slots=True)
class Solved:
    """What the solver found.

    Attributes:
        sentence: how close to the programme's optimum it is.
    """

    assignment: Assignment
    sentence: str


@dataclass(frozen=True, slots=True)
class Column:
    """One yes-or-no question: does `core`, or the group that it is the first of, serve pieces of `option`? None asks
    for all pieces at once."""

    option: Option
    core: str | None


class Makespan:
    """minimise m, where for each feature one option is chosen, its pieces lie on different cores, every core's load is
    at most m, and what is kept in each private memory fits.

    Args:
        pricer: of the problem.
        classes: cores that are alike.
        found: each feature's options.

    Raises:
        UnavailableError: highspy is not installed.
    """

    def __init__(self, pricer: Pricer, classes: Classes, found: Mapping[str, Sequence[Option]]) -> None:
        self._pricer = pricer
        self._classes = classes
        self._cores = tuple(classes.of)
        self._found = found
        self._groups = {
            name: {core: group for group in pricer.groups(name) for core in group} for name in pricer.strategies
        }
        self._seats = {id(option): self._firsts(option) for able in found.values() for option in able}
        self._columns = [
            Column(option, core) for able in found.values() for option in able for core in (None, *self._own(option))
        ]
        self._at = {(id(column.option), column.core): at for at, column in enumerate(self._columns)}
        self._on: dict[str, list[tuple[int, Column]]] = defaultdict(list)
        for at, column in enumerate(self._columns):
            for core in self._cores_of(column):
                self._on[core].append((at, column))

    def solve(self, start: Assignment, time_limit_s: float) -> Solved:
        """The best assignment found in `time_limit_s`, beginning with `start`."""
        highs, status = self._model()
        highs.setOptionValue("time_limit", time_limit_s)
        highs.setOptionValue("mip_rel_gap", _GAP)
        highs.setSolution(len(self._columns) + 1, *self._as_solution(start))
        highs.run()
        values = list(highs.getSolution().col_value)
        if not values:
            return Solved(start, "The integer programme found nothing in time; the greedy assignment stands.")
        info = highs.getInfo()
        sentence = (
            f"Integer programme: makespan {info.objective_function_value:.2f} us at the options' own prices, "
            f"within {info.mip_gap:.1%} of its optimum"
        )
        stopped = highs.getModelStatus() == status.kTimeLimit
        return Solved(self._as_assignment(values), f"{sentence}{' when time was up' if stopped else ''}.")

    def _firsts(self, option: Option) -> tuple[str, ...]:
        groups = self._groups[option.candidate.strategy]
        return () if option.candidate.pieces == len(groups) else tuple({group[0]: None for group in groups.values()})

    def _own(self, option: Option) -> tuple[str, ...]:
        """Cores to ask about, of a group the first: none when the option takes them all anyway."""
        return self._seats[id(option)]

    def _model(self) -> tuple[Any, Any]:
        try:
            import highspy
        except ModuleNotFoundError as error:
            raise UnavailableError(
                "plan", "planner 'ilp' needs the package 'highspy', which is not installed", "pip install highspy"
            ) from error
        highs = highspy.Highs()
        highs.setOptionValue("output_flag", False)
        highs.setOptionValue("threads", 1)
        makespan = len(self._columns)
        highs.addVars(makespan + 1, np.zeros(makespan + 1), np.r_[np.ones(makespan), highs.inf])
        highs.changeColCost(makespan, 1.0)
        integer = np.full(makespan, int(highspy.HighsVarType.kInteger), dtype=np.uint8)
        highs.changeColsIntegrality(makespan, np.arange(makespan, dtype=np.int32), integer)
        for low, high, row in (*self._choose_one(), *self._seat_pieces(), *self._loads(), *self._rooms(highs.inf)):
            index = np.array(list(row), dtype=np.int32)
            highs.addRow(low, high, len(row), index, np.array(list(row.values()), dtype=np.float64))
        return highs, highspy.HighsModelStatus

    def _choose_one(self) -> list[tuple[float, float, dict[int, float]]]:
        return [(1.0, 1.0, {self._at[id(option), None]: 1.0 for option in able}) for able in self._found.values()]

    def _seat_pieces(self) -> list[tuple[float, float, dict[int, float]]]:
        rows = []
        for option in (option for able in self._found.values() for option in able if self._own(option)):
            own = self._own(option)
            row = {self._at[id(option), core]: float(len(self._group(option, core))) for core in own}
            rows.append((0.0, 0.0, {**row, self._at[id(option), None]: -float(option.candidate.pieces)}))
        return rows

    def _loads(self) -> list[tuple[float, float, dict[int, float]]]:
        """Every core's load is at most the makespan, the last column."""
        rows = []
        for core in self._cores:
            of = self._classes.of[core]
            row = {at: column.option.seconds[of] * _MICRO for at, column in self._pieces_on(core)}
            rows.append((-np.inf, 0.0, {**row, len(self._columns): -1.0}))
        return rows

    def _rooms(self, infinity: float) -> list[tuple[float, float, dict[int, float]]]:
        room = Room(self._pricer.problem.platform)
        rows = []
        for core in self._cores:
            row = {at: float(column.option.local_bytes) for at, column in self._pieces_on(core)}
            row = {at: nbytes / 1024 for at, nbytes in row.items() if nbytes > 0}
            if row:
                rows.append((-infinity, room.local_bytes_of(core) / 1024, row))
        return rows

    def _pieces_on(self, core: str) -> list[tuple[int, Column]]:
        """The columns that put a piece on `core`."""
        return self._on.get(core, [])

    def _cores_of(self, column: Column) -> tuple[str, ...]:
        """The cores that the column puts pieces on, if it says which."""
        if column.core is not None:
            return self._group(column.option, column.core)
        return () if self._own(column.option) else tuple(self._groups[column.option.candidate.strategy])

    def _group(self, option: Option, core: str) -> tuple[str, ...]:
        """The cores that serve the option together with `core`, and itself; none when it cannot."""
        return self._groups[option.candidate.strategy].get(core, ())

    def _as_solution(self, start: Assignment) -> tuple[Any, Any]:
        """Every column's index and value under `start`."""
        values = np.zeros(len(self._columns) + 1)
        for choice in start.choices.values():
            values[self._at[id(choice.option), None]] = 1.0
            for core in set(choice.cores) & set(self._own(choice.option)):
                values[self._at[id(choice.option), core]] = 1.0
        values[-1] = max(start.loads(self._classes).values()) * _MICRO
        return np.arange(len(values), dtype=np.int32), values

    def _as_assignment(self, values: Sequence[float]) -> Assignment:
        assignment = Assignment()
        for feature, able in self._found.items():
            option = max(able, key=lambda o: values[self._at[id(o), None]])
            firsts = [c for c in self._own(option) if values[self._at[id(option), c]] > 0.5]
            seats = [core for first in firsts for core in self._group(option, first)]
            seats = seats or list(self._groups[option.candidate.strategy])
            if len(seats) != option.candidate.pieces:
                raise PlanError("plan", f"the solver seats feature '{feature}' on {len(seats)} cores", "Report this.")
            assignment = assignment.choose(Choice(option, tuple(seats)))
        return assignment
