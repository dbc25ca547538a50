"""Parquet tables: a column named as a feature holds one id a sample (integer or text), or a list: the bag.

Dense inputs are a list column `dense`, or single columns chosen as `dense.py` says. `label` is optional.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import FormatError, InputError

from ..arrow import parquet
from .dense import dense_columns
from .rows import Column, Rows, Tally


def rows(
    path: Path, features: Sequence[str], dense_inputs: int, block: int, tally: Tally, *, filled: bool = False
) -> Iterator[Rows]:
    """The samples of the table, `block` at a time; rows with an empty (null) id or dense input are bad rows.

    Args:
        filled: empty ids are 0 or the empty text, and empty dense inputs NaN, instead.

    Raises:
        FormatError: it is not a Parquet file.
        InputError: a row is bad and bad rows are errors, or a column has no usable type.
        UnavailableError: pyarrow is not installed.
    """
    pyarrow, pq = parquet("reading Parquet")
    try:
        file = pq.ParquetFile(path)
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise FormatError("read", f"cannot read '{path}': {error}", "It is no Parquet file.") from error
    names = file.schema_arrow.names
    ids = [name for name in features if name in names]
    listed = "dense" in names
    dense = [] if listed else dense_columns(names, features, dense_inputs)
    wanted = [*ids, *dense, *(["dense"] if listed and dense_inputs else []), *(["label"] if "label" in names else [])]
    start = 0
    for chunk in file.iter_batches(batch_size=block, columns=wanted):
        kept = _filled(pyarrow, chunk, ids) if filled else _without_nulls(pyarrow, chunk, path, start, tally)
        start += chunk.num_rows
        if kept.num_rows:
            columns = {name: _column(pyarrow, kept.column(name), name) for name in ids}
            yield Rows(columns, _dense(kept, dense, dense_inputs), _labels(kept))


def _without_nulls(pyarrow: Any, chunk: Any, path: Path, start: int, tally: Tally) -> Any:
    import pyarrow.compute as pc

    bad_S = np.zeros(chunk.num_rows, dtype=bool)
    for name in chunk.schema.names:
        if name != "label":
            bad_S |= _empty(pyarrow, pc, chunk.column(name))
    for row in np.flatnonzero(bad_S):
        tally.bad(f"{path}: row {start + row}", "an empty cell")
    return chunk.filter(pyarrow.array(~bad_S)) if bad_S.any() else chunk


def _empty(pyarrow: Any, pc: Any, array: Any) -> NDArray[np.bool_]:
    """[S] whether a cell is empty, or a bag holds an empty id."""
    found: NDArray[np.bool_] = pc.is_null(array).to_numpy(zero_copy_only=False).copy()
    if pyarrow.types.is_list(array.type) or pyarrow.types.is_large_list(array.type):
        within = pc.is_null(array.flatten()).to_numpy(zero_copy_only=False)
        found[pc.list_parent_indices(array).to_numpy()[within]] = True
    return found


def _filled(pyarrow: Any, chunk: Any, ids: list[str]) -> Any:
    def fill(name: str, array: Any) -> Any:
        if name not in ids:
            return array
        if pyarrow.types.is_null(array.type):
            array = array.cast(pyarrow.int64())
        return array.fill_null(0 if pyarrow.types.is_integer(array.type) else "")

    return pyarrow.RecordBatch.from_arrays(
        [fill(name, chunk.column(name)) for name in chunk.schema.names], names=chunk.schema.names
    )


def _column(pyarrow: Any, array: Any, name: str) -> Column:
    kinds = pyarrow.types
    if kinds.is_list(array.type) or kinds.is_large_list(array.type):
        offsets = array.offsets.to_numpy().astype(np.int64)
        values = array.values.slice(offsets[0], offsets[-1] - offsets[0])
        return Column(_ids(kinds, values, name), offsets - offsets[0])
    return Column(_ids(kinds, array, name))


def _ids(kinds: Any, array: Any, name: str) -> NDArray[Any]:
    if kinds.is_integer(array.type):
        return array.to_numpy(zero_copy_only=False).astype(np.int64)
    if kinds.is_string(array.type) or kinds.is_large_string(array.type):
        return np.array(array.to_pylist(), dtype=np.str_)
    raise InputError("read", f"ids of feature '{name}' are {array.type}, not integers or text", "Cast the column.")


def _dense(chunk: Any, names: list[str], count: int) -> NDArray[np.float32] | None:
    if not count:
        return None
    if names:
        return np.stack([chunk.column(name).to_numpy(zero_copy_only=False) for name in names], 1).astype(np.float32)
    listed = chunk.column("dense")
    flat = listed.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    if flat.size != chunk.num_rows * count:
        raise InputError("read", f"column 'dense' does not hold {count} numbers a row", "Check the model's inputs.")
    return flat.reshape(chunk.num_rows, count)


def _labels(chunk: Any) -> NDArray[np.float32] | None:
    if "label" not in chunk.schema.names:
        return None
    return chunk.column("label").to_numpy(zero_copy_only=False).astype(np.float32)
