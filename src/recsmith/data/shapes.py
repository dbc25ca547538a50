"""The shapes of real models: table sizes, dims and pooling factors, as package data.

Each file in `workloads/` says where its numbers come from and which of them are exact, estimated or invented.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from recsmith.spec import (
    Access,
    CapacityError,
    Distribution,
    Feature,
    Model,
    Provenance,
    Record,
    RowFormat,
    Table,
    UnknownNameError,
    Workload,
)
from recsmith.spec.row_format import RowDtype

_FOLDER = Path(__file__).parent / "workloads"


class ShapeFeature(Record, frozen=True, array_like=True):
    """One sparse input of a workload file.

    Attributes:
        pooling: ids a sample.
        rows_kind: `exact`: counted by a public source; `id-space`: the embedding size of public code, at least
            the number of distinct ids; `estimate` and `invented` are ours.
        shares_with: the feature whose table it reads; None when it has its own.
    """

    name: str
    rows: int
    dim: int
    pooling: float
    rows_kind: Literal["exact", "id-space", "estimate", "invented"]
    shares_with: str | None = None
    note: str = ""


class ShapeFile(Record, frozen=True):
    """A workload file as stored.

    Attributes:
        bottom: widths of the bottom MLP, dense inputs first; empty when there is none.
        top: widths of the top MLP after its input; empty when unknown.
        interaction: `dot`, `cat`, `dcn_v2`, or empty when unknown.
    """

    name: str
    title: str
    source: str
    provenance: str
    dense_inputs: int
    bottom: tuple[int, ...]
    top: tuple[int, ...]
    interaction: str
    features: tuple[ShapeFeature, ...]


class Shape(Record, frozen=True):
    """A model's look-up part and how it is asked.

    Attributes:
        model: tables and features, without dense parts (`dense.dlrm` adds them).
        pooling_factors: ids a sample, one a feature.
        row_cap: the rows that every larger table was cut to; 0 when none was.
    """

    file: ShapeFile
    model: Model
    pooling_factors: tuple[float, ...]
    row_cap: int = 0

    @property
    def lookups_per_sample(self) -> float:
        """Rows read for one sample."""
        return sum(self.pooling_factors)

    def workload(self, batch: int, ids: Distribution | Mapping[str, Distribution], label: str = "") -> Workload:
        """Batches of `batch` samples whose ids follow `ids`: one law for all features, or one by feature name.

        Args:
            label: what to call the distribution in the workload's name.
        """
        by_feature = ids if isinstance(ids, Mapping) else {feature.name: ids for feature in self.model.features}
        accesses = tuple(
            Access(feature.name, factor, by_feature[feature.name])
            for feature, factor in zip(self.model.features, self.pooling_factors, strict=True)
        )
        return Workload("/".join(filter(None, (self.file.name, label, f"b{batch}"))), batch, accesses)


def names() -> tuple[str, ...]:
    """The workloads there are, in alphabetical order."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


@cache
def describe(name: str) -> ShapeFile:
    """The workload file called `name`.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in names():
        raise UnknownNameError("workload", f"there is no workload '{name}'", f"Choose from: {', '.join(names())}.")
    return ShapeFile.open(_FOLDER / f"{name}.json")


def shape(name: str, dim: int | None = None, max_bytes: int | None = None, dtype: RowDtype = "fp32") -> Shape:
    """The workload called `name` as a model.

    Args:
        dim: elements a row, for all tables; None keeps the workload's own.
        max_bytes: cut all tables to one common number of rows, the largest with which they take no more than this.
        dtype: how rows are stored.

    Raises:
        UnknownNameError: there is no such workload.
        CapacityError: not even one row a table fits in `max_bytes`.
    """
    file = describe(name)
    row_format = RowFormat(dtype)
    tables = tuple(
        Table(feature.name, feature.rows, dim or feature.dim, row_format)
        for feature in file.features
        if feature.shares_with is None
    )
    cap = 0
    if max_bytes is not None and sum(table.nbytes for table in tables) > max_bytes:
        cap = _largest_cap(tables, max_bytes)
        tables = tuple(Table(t.name, min(t.rows, cap), t.dim, t.format) for t in tables)
    features = tuple(Feature(feature.name, feature.shares_with or feature.name) for feature in file.features)
    model = Model(file.name, tables, features, provenance=Provenance(source=file.source, importer="shapes"))
    return Shape(file, model, tuple(float(feature.pooling) for feature in file.features), cap)


def _largest_cap(tables: tuple[Table, ...], max_bytes: int) -> int:
    """The largest c with sum(min(rows, c) * stride) <= max_bytes."""
    strides = [table.format.stride_bytes(table.dim) for table in tables]

    def taken(cap: int) -> int:
        return sum(min(table.rows, cap) * stride for table, stride in zip(tables, strides, strict=True))

    if taken(1) > max_bytes:
        raise CapacityError(
            "workload",
            f"one row of each of {len(tables)} tables takes {taken(1):,} bytes; --max-bytes allows {max_bytes:,}",
            f"Allow at least {taken(1):,} bytes.",
        )
    low, high = 1, max(table.rows for table in tables)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if taken(middle) <= max_bytes else (low, middle - 1)
    return low
