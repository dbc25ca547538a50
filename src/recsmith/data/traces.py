"""Traces: recorded ids in a Parquet file, one column a feature, one row a sample.

An integer column holds one id a sample, a list column a bag.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import FormatError, Jagged, Model, Popularity, Trace

from .arrow import parquet


@dataclass(frozen=True, slots=True)
class Column:
    """One feature's ids for all samples of a trace.

    Attributes:
        values: [L] int64.
        offsets: [S + 1] int64; None means one id a sample.
    """

    values: NDArray[np.int64]
    offsets: NDArray[np.int64] | None

    @property
    def samples(self) -> int:
        """S."""
        return len(self.values) if self.offsets is None else len(self.offsets) - 1


def read(file: str | Path, features: Sequence[str]) -> dict[str, Column]:
    """The columns `features` of the trace.

    Raises:
        FormatError: there is no such file, it is no Parquet file, lacks a feature, or holds what is not an id.
        UnavailableError: pyarrow is not installed.
    """
    pyarrow, pq = parquet("reading a trace")
    try:
        table = pq.read_table(file, columns=None)
    except FileNotFoundError as error:
        remedy = "Check the path; it counts from the current folder."
        raise FormatError("trace", f"there is no file '{file}'", remedy) from error
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise FormatError("trace", f"cannot read '{file}': {error}", "A trace is a Parquet file of ids.") from error
    missing = [name for name in features if name not in table.column_names]
    if missing:
        raise FormatError(
            "trace",
            f"'{file}' has no column {', '.join(missing)}",
            f"Its columns are: {', '.join(table.column_names)}.",
        )
    return {name: _column(pyarrow, table.column(name).combine_chunks(), f"{file}:{name}") for name in features}


def _column(pyarrow: Any, array: Any, where: str) -> Column:
    kind = array.type
    is_list = pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind)
    ids = array.values if is_list else array
    if not pyarrow.types.is_integer(ids.type) or array.null_count or ids.null_count:
        raise FormatError("trace", f"'{where}' holds {kind}, or nulls", "Write integers or lists of integers.")
    if not is_list:
        return Column(ids.to_numpy().astype(np.int64, copy=False), None)
    offsets = array.offsets.to_numpy().astype(np.int64)
    values = ids.to_numpy().astype(np.int64, copy=False)
    return Column(values[offsets[0] : offsets[-1]], offsets - offsets[0])


def write(file: str | Path, model: Model, batches: Iterable[Jagged]) -> Path:
    """Write the ids of `batches` as a trace of `model`'s features and return its path.

    Raises:
        UnavailableError: pyarrow is not installed.
    """
    pyarrow, pq = parquet("writing a trace")
    target = Path(file)
    writer = None
    try:
        for ids in batches:
            table = pyarrow.table(_arrays(pyarrow, model, ids))
            writer = writer or pq.ParquetWriter(target, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    return target


def _arrays(pyarrow: Any, model: Model, ids: Jagged) -> dict[str, Any]:
    columns = {}
    for at, feature in enumerate(model.features):
        if ids.offsets is None:
            columns[feature.name] = pyarrow.array(ids.values[at * ids.batch : (at + 1) * ids.batch])
            continue
        offsets = ids.offsets[at * ids.batch : (at + 1) * ids.batch + 1]
        values = pyarrow.array(ids.values[offsets[0] : offsets[-1]])
        columns[feature.name] = pyarrow.LargeListArray.from_arrays((offsets - offsets[0]).astype(np.int64), values)
    return columns


def distributions(file: str | Path, features: Sequence[str]) -> dict[str, Trace]:
    """Feature to its ids as counted in the trace.

    Raises:
        FormatError: see `read`.
    """
    return {name: Trace(str(file), _counted(column)) for name, column in read(file, features).items()}


def _counted(column: Column) -> Popularity:
    if not len(column.values):
        return Popularity.fixed()
    counts = np.unique(column.values, return_counts=True)[1]
    return Popularity.from_counts(counts.tolist())


def mean_lengths(columns: Mapping[str, Column]) -> dict[str, float]:
    """Feature to its mean number of ids a sample."""
    return {name: len(column.values) / max(1, column.samples) for name, column in columns.items()}
