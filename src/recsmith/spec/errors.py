"""Everything recsmith raises on purpose. Each message says what was found, what was wanted and what to do."""

from __future__ import annotations


class RecsmithError(Exception):
    """Base of all errors raised by recsmith.

    Reads `[operation] what was found and wanted. What to do.`

    Args:
        operation: the step that failed, as the user knows it ("import", "plan", "lookup").
        problem: what was found and what was wanted; names the thing at fault.
        remedy: what the reader can do about it.
    """

    exit_code = 1

    def __init__(self, operation: str, problem: str, remedy: str = "") -> None:
        self.operation = operation
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"[{operation}] {problem.rstrip('.')}." + (f" {remedy}" if remedy else ""))


class FormatError(RecsmithError, ValueError):
    """A file or record is not what its reader wants."""

    exit_code = 3


class CheckpointError(RecsmithError, ValueError):
    """A checkpoint or module cannot be imported."""

    exit_code = 3


class InputError(RecsmithError, ValueError):
    """A batch is malformed: ids, offsets, lengths, weights, dtypes or shapes."""

    exit_code = 4


class IdRangeError(InputError):
    """An id lies outside its table and the feature's policy is `error`."""


class PlanError(RecsmithError, ValueError):
    """A plan is invalid for its problem, or no plan can be made."""

    exit_code = 5


class ForeignPlanError(PlanError):
    """A plan was made for another machine or model."""


class CapacityError(RecsmithError, MemoryError):
    """Something does not fit in the memory it has to live in."""

    exit_code = 6


class UnavailableError(RecsmithError, RuntimeError):
    """A forced choice (instruction set, kernel, strategy, library) does not exist on this machine."""

    exit_code = 7


class UnknownNameError(RecsmithError, KeyError):
    """A registry has no entry of that name."""

    exit_code = 2

    def __str__(self) -> str:
        return str(self.args[0])
