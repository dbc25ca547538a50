"""Rows multiplied with the top MLP's first layer (ours); see `representations.folding`.

I inputs and O outputs of the layer, E elements of a row, R rows.
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsmith.reference import decode
from recsmith.representations.folding import AFTER, FIRST, Parts
from recsmith.spec import Model, Plan, Platform, Progress, Table, Weights

from .memory import Pages, room_for

_CHUNK_ROWS = 1 << 14


def layer_weights(model: Model, weights: Weights, names: Collection[str]) -> Weights:
    """The parameters of `Parts.first` and `Parts.after` with the features called `names` folded."""
    assert model.top is not None
    weight_OI, bias_O = _first_layer(model, weights)
    kept_I = np.ones(weight_OI.shape[1], bool)
    for name in names:
        kept_I[_columns(model, name)] = False
    dense = {f"{FIRST}.0.weight": np.ascontiguousarray(weight_OI[:, kept_I]), f"{FIRST}.0.bias": bias_O}
    for at in range(1, len(model.top.activations)):
        for kind in ("weight", "bias"):
            dense[f"{AFTER}.{at - 1}.{kind}"] = weights.dense[f"{model.top.prefix}.{at}.{kind}"]
    return Weights({}, dense)


def folded_rows(
    model: Model,
    parts: Parts,
    weights: Weights,
    sums: Plan,
    platform: Platform,
    pages: Pages,
    progress: Progress | None,
) -> Weights:
    """The rows of `parts.sums`, computed in float64, in an arena of `pages` that lives as long as they do.

    Args:
        sums: how they will be served, which decides on which memory node they lie.
        progress: told the bytes written.

    Raises:
        CapacityError: they do not fit in memory.
    """
    assert parts.sums is not None
    remedy = "Plan with fewer folded bytes (recsmith plan --fold), or free memory."
    room = room_for(parts.sums, sums, platform, pages, remedy)
    weight_OI, _ = _first_layer(model, weights)
    tables, done = {}, 0
    for feature, table in zip(parts.sums.features, parts.sums.tables, strict=True):
        floats: Any = (ctypes.c_float * (table.rows * table.dim)).from_address(room.address(table.name))
        floats.arena = room.arena
        rows_MO = np.ctypeslib.as_array(floats).reshape(table.rows, table.dim)
        stored = model.table_of(next(each for each in model.features if each.name == feature.name))
        _multiply(weights.tables[stored.name], stored, weight_OI[:, _columns(model, feature.name)], rows_MO)
        tables[table.name] = rows_MO
        done += table.nbytes
        if progress is not None:
            progress("folding rows", done, parts.sums.nbytes)
    return Weights(tables)


def _first_layer(model: Model, weights: Weights) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    assert model.top is not None
    weight_OI, bias_O = (np.asarray(weights.dense[f"{model.top.prefix}.0.{kind}"]) for kind in ("weight", "bias"))
    return weight_OI, bias_O


def _columns(model: Model, feature: str) -> slice:
    """The layer's inputs that are the feature's vector."""
    bottom = 0 if model.bottom is None else model.bottom.widths[-1]
    dim = next(model.table_of(each).dim for each in model.features if each.name == feature)
    first = bottom + model.columns[feature]
    return slice(first, first + dim)


def _multiply(
    stored: NDArray[np.generic], table: Table, weight_OE: NDArray[np.float32], rows_MO: NDArray[np.float32]
) -> None:
    """Every row times its columns of the layer, to `rows_MO`."""
    weight_EO = weight_OE.astype(np.float64).T
    for start in range(0, table.rows, _CHUNK_ROWS):
        rows_RE = decode(stored[start : start + _CHUNK_ROWS], table)
        rows_MO[start : start + len(rows_RE)] = rows_RE @ weight_EO
