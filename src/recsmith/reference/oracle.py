"""The look-up in float64, written as the equations are: what every kernel must agree with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Feature, Jagged, Model, Table, Weights

from .computed import computed_rows
from .rows import decode


def bag(ids: Jagged, feature: int, sample: int) -> slice:
    """Where the ids of one bag lie in `ids.values`; `feature` counts in the model's order."""
    at = feature * ids.batch + sample
    if ids.offsets is None:
        return slice(at, at + 1)
    return slice(int(ids.offsets[at]), int(ids.offsets[at + 1]))


def pool(
    feature: Feature,
    rows_ME: NDArray[np.float64],
    ids_L: NDArray[np.integer],
    weights_L: NDArray[np.floating] | None,
) -> NDArray[np.float64]:
    """One bag's vector [dim]; for pooling `none` its vectors [len(ids), dim].

    sum: y = sum_i w_i * row(id_i), w_i = 1 without weights. mean: the sum over the number of ids.
    Ids equal to the padding id add nothing and are not counted. An empty bag gives zeros.
    """
    return pool_vectors(feature, rows_ME[ids_L], ids_L, weights_L)


def pool_vectors(
    feature: Feature,
    vectors_LE: NDArray[np.float64],
    ids_L: NDArray[np.integer],
    weights_L: NDArray[np.floating] | None,
) -> NDArray[np.float64]:
    """`pool` for the vectors of the bag's ids, stored or computed."""
    scales = np.ones(len(ids_L)) if weights_L is None else weights_L.astype(np.float64)
    if feature.padding_id is not None:
        scales = np.where(ids_L == feature.padding_id, 0.0, scales)
    vectors = vectors_LE * scales[:, None]
    if feature.pooling == "none":
        return vectors
    total = vectors.sum(axis=0)
    if feature.pooling == "sum":
        return total
    counted = len(ids_L) if feature.padding_id is None else int((ids_L != feature.padding_id).sum())
    return total / max(1, counted)


def lookup(model: Model, weights: Weights, ids: Jagged) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """The look-up's output: pooled vectors [B, width] and, for pooling `none`, vectors [L_f, dim] by feature.

    Ids are row numbers (id maps already applied) and lie inside their tables.
    """
    pooled_BW = np.zeros((ids.batch, model.width))
    sequences: dict[str, NDArray[np.float64]] = {}
    numbers = {feature.name: at for at, feature in enumerate(model.features)}
    column = 0
    for feature, table in model.vectors:
        vectors = _bags(feature, numbers[feature.name], table, weights, ids)
        pooled_BW[:, column : column + table.dim] = np.stack(vectors) if vectors else 0.0
        column += table.dim
    for feature in model.features:
        if feature.pooling == "none":
            table = model.table_of(feature)
            vectors = _bags(feature, numbers[feature.name], table, weights, ids)
            sequences[feature.name] = np.concatenate([np.zeros((0, table.dim)), *vectors])
    return pooled_BW, sequences


def _bags(feature: Feature, at: int, table: Table, weights: Weights, ids: Jagged) -> list[NDArray[np.float64]]:
    """One entry a sample: the bag's vector, or its vectors for pooling `none`."""
    rows_ME = None if table.computed else decode(weights.tables[table.name], table)
    parameters = weights.of(table.name) if table.computed else {}
    found = []
    for sample in range(ids.batch):
        where = bag(ids, at, sample)
        own = ids.values[where]
        scales = ids.weights[where] if feature.weighted and ids.weights is not None else None
        vectors = computed_rows(table, parameters, own) if rows_ME is None else rows_ME[own]
        found.append(pool_vectors(feature, vectors, own, scales))
    return found
