"""What the model will be asked: how many samples at once, and which ids."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal, Self

from msgspec.structs import replace

from .errors import InputError
from .model import Model
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


def describe(ids: Distribution) -> str:
    """The distribution as one writes it on the command line: "uniform", "zipf:1.05", "fixed", "trace:F"."""
    match ids:
        case Zipf(alpha=alpha):
            return f"zipf:{alpha:g}"
        case Trace(file=file):
            return f"trace:{file}"
        case _:
            return type(ids).__name__.lower()


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

    @classmethod
    def uniform(cls, model: Model, batch: int, pooling: Mapping[str, float] | None = None) -> Self:
        """Batches of `batch` samples with uniform ids; `pooling` gives mean bag sizes by feature, else 1."""
        return cls.of(model, batch, Uniform(), pooling)

    @classmethod
    def zipf(cls, model: Model, batch: int, alpha: float = 1.05, pooling: Mapping[str, float] | None = None) -> Self:
        """Batches of `batch` samples whose ids are asked for by rank to the power `-alpha`."""
        return cls.of(model, batch, Zipf(alpha), pooling)

    @classmethod
    def of(cls, model: Model, batch: int, ids: Distribution, pooling: Mapping[str, float] | None = None) -> Self:
        """Batches of `batch` samples whose features all draw from `ids`."""
        factors = pooling or {}
        accesses = tuple(Access(f.name, factors.get(f.name, 1.0), ids) for f in model.features)
        return cls(f"{describe(ids)} x {batch}", batch, accesses)

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

    @classmethod
    def of(cls, workloads: Workload | Objective | Iterable[Workload]) -> Objective:
        """One, several of equal weight, or an objective as it is."""
        if isinstance(workloads, Objective):
            return workloads
        return cls((workloads,) if isinstance(workloads, Workload) else tuple(workloads))

    def among(self, features: Collection[str]) -> Objective:
        """The objective as far as it concerns `features`."""
        own = (tuple(access for access in w.accesses if access.feature in features) for w in self.workloads)
        return replace(self, workloads=tuple(replace(w, accesses=a) for w, a in zip(self.workloads, own, strict=True)))
