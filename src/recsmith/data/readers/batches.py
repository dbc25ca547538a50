"""From rows as they stand in files to batches of row numbers. Legend: B samples, L ids, F features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Batch, InputError, Jagged, Model

from ..idmaps import Mapper
from .rows import Column, Rows, Tally

Labelled = tuple[Batch, NDArray[np.float32] | None]


def rechunk(parts: Iterable[Rows], batch: int) -> Iterator[Rows]:
    """The same samples, `batch` at a time; the last chunk may be smaller."""
    held: list[Rows] = []
    count = 0
    for part in parts:
        held.append(part)
        count += len(part)
        if count < batch:
            continue
        whole = Rows.join(held)
        full = count - count % batch
        for start in range(0, full, batch):
            yield whole.part(start, start + batch)
        count -= full
        held = [whole.part(full, len(whole))] if count else []
    if count:
        yield Rows.join(held)


def assemble(rows: Rows, model: Model, mappers: Mapping[str, Mapper], tally: Tally) -> Labelled:
    """The samples as a batch of `model`, ids mapped to rows, and their labels.

    Raises:
        InputError: a feature or the dense inputs are missing, or an id cannot be mapped.
    """
    columns = _choose(rows, model)
    _check_dense(rows, model)
    values = []
    for feature, column in zip(model.features, columns, strict=True):
        mapped_L, replaced = mappers[feature.name](column.values)
        if replaced:
            tally.unseen[feature.name] += replaced
        values.append(mapped_L)
    offsets = None
    if any(column.offsets is not None for column in columns):
        lengths_FB = np.concatenate([column.lengths for column in columns])
        offsets = np.concatenate([[0], np.cumsum(lengths_FB)]).astype(np.int64)
    tally.samples += len(rows)
    sparse = Jagged(np.concatenate(values), offsets, len(rows), _weights(model, columns))
    return Batch(sparse, rows.dense if model.dense_inputs else None), rows.labels


def _choose(rows: Rows, model: Model) -> list[Column]:
    names = [feature.name for feature in model.features]
    missing = [name for name in names if name not in rows.columns]
    if not missing:
        return [rows.columns[name] for name in names]
    if rows.positional and len(missing) == len(names) == len(rows.columns):
        return list(rows.columns.values())
    raise InputError(
        "read",
        f"the input lacks feature {', '.join(missing[:8])}" + (" ..." if len(missing) > 8 else ""),
        f"Its columns are: {', '.join(list(rows.columns)[:40]) or 'none of the features'}.",
    )


def _check_dense(rows: Rows, model: Model) -> None:
    found = 0 if rows.dense is None else rows.dense.shape[1]
    if model.dense_inputs and found != model.dense_inputs:
        raise InputError(
            "read",
            f"the input has {found} dense inputs; the model takes {model.dense_inputs}",
            "Save them as 'dense', [samples, inputs].",
        )


def _weights(model: Model, columns: list[Column]) -> NDArray[np.float32] | None:
    if not any(feature.weighted for feature in model.features):
        return None
    return np.concatenate(
        [np.ones(len(c.values), np.float32) if c.weights is None else c.weights for c in columns]
    ).astype(np.float32)
