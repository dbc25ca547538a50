"""What the model will be asked: how many samples at once, and which ids."""

from __future__ import annotations

from typing import Literal

from .errors import InputError
from .popularity import Popularity
from .record import Record


class Uniform(Record, frozen=True, tag="uniform"):
    """Every row equally likely."""

    def popularity(self, rows: int) -> Popularity:
        """Popularity over a table of `rows` rows."""
        return Popularity.uniform(rows)


class Zipf(Record, frozen=True, tag="zipf"):
    """Popularity falls with rank to the power `-alpha`; ranks are scattered over the table."""

    alpha: float

    def popularity(self, rows: int) -> Popularity:
        """Popularity over a table of `rows` rows."""
        return Popularity.zipf(rows, self.alpha)


class Fixed(Record, frozen=True, tag="fixed"):
    """Every look-up asks for one and the same row: the most unbalanced distribution there is."""

    def popularity(self, rows: int) -> Popularity:
        """Popularity over a table of `rows` rows."""
        return Popularity.fixed()


class Trace(Record, frozen=True, tag="trace"):
    """Ids recorded in a Parquet file; `seen` was counted from it when the workload was made."""

    file: str
    seen: Popularity

    def popularity(self, rows: int) -> Popularity:
        """Popularity as counted in the trace."""
        return self.seen


Distribution = Uniform | Zipf | Fixed | Trace


class Access(Record, frozen=True):
    """How one feature is asked.

    Attributes:
        pooling_factor: mean number of ids in a bag.
        ids: which rows they ask for.
    """

    feature: str
    pooling_factor: float = 1.0
    ids: Distribution = Uniform()


class Workload(Record, frozen=True):
    """Batches of `batch` samples whose features are asked as `accesses` say."""

    name: str
    batch: int
    accesses: tuple[Access, ...]

    def access(self, feature: str) -> Access:
        """How `feature` is asked.

        Raises:
            InputError: the workload does not mention it.
        """
        for access in self.accesses:
            if access.feature == feature:
                return access
        raise InputError(
            "workload", f"workload '{self.name}' says nothing of feature '{feature}'", "Add an access for it."
        )


class Objective(Record, frozen=True):
    """What a plan is made for: several batches and distributions at once.

    Attributes:
        weights: one per workload, or empty for equal ones; used by `mean`.
        aim: `mean` lowers the weighted mean of the predicted times, `worst` the largest of them.
    """

    workloads: tuple[Workload, ...]
    weights: tuple[float, ...] = ()
    aim: Literal["mean", "worst"] = "mean"
