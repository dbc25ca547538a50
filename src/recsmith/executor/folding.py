"""The top MLP's first layer, multiplied into rows beforehand (ours).

A concatenating model's first layer is W [bottom | x_1 | .. | x_F] + b, which is a sum: W_0 bottom + W_1 x_1 + .. + b.
A feature whose rows are stored as W_i x costs one longer row instead of a product. Bags, means and weights are sums as
well, so they stay what they are.

B samples, I inputs and O outputs of the layer, E elements of a row.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from recsmith.reference import decode
from recsmith.spec import Feature, Interaction, Mlp, Model, PlanError, Table, Weights

FIRST, AFTER = "first", "after"
"""What the parameters of the layer that is left, and of those above it, are called."""
_CHUNK_ROWS = 1 << 14


@dataclass(frozen=True, slots=True)
class Folded:
    """A model cut behind its first top layer, in two.

    Attributes:
        rest: bottom MLP and the features that are not folded, concatenated.
        sums: what adds folded rows to the first layer over what `rest` gives; None when no feature is folded.
        first: the first layer over what `rest` gives, without its activation when there is something to add.
        after: the layers above; None when there are none.
        dense: the parameters of both.
    """

    rest: Model
    rest_weights: Weights
    sums: Model | None
    sums_weights: Weights
    first: Mlp
    after: Mlp | None
    dense: Weights


def foldable(model: Model) -> tuple[Feature, ...]:
    """The features that can be folded; at least one always has to stay."""
    if model.interaction is None or model.interaction.kind != "cat" or model.top is None:
        return ()
    if model.top.activations[0] == "sigmoid":
        return ()
    stored = {table.name for table in model.tables if table.computed is None}
    return tuple(f for f in model.features if f.pooling != "none" and f.beside is None and f.table in stored)


def folded_bytes(model: Model, feature: Feature) -> int:
    """What the feature's rows weigh when they are as long as the first layer is wide."""
    assert model.top is not None
    return 4 * model.table_of(feature).rows * model.top.widths[1]


def fold(model: Model, weights: Weights, names: Collection[str]) -> Folded:
    """`model` with the features called `names` folded, or none; computes in float64.

    Raises:
        PlanError: one of them cannot be folded, or none would be left.
    """
    able = {feature.name for feature in foldable(model)}
    wrong = sorted(set(names) - able)
    if wrong or not able or len(names) == len(model.features):
        what = f"feature '{wrong[0]}' cannot be" if wrong else "all features cannot be" if able else "nothing can be"
        raise PlanError("fold", f"{what} folded into the first layer of model '{model.name}'", "Name other features.")
    assert model.top is not None
    prefix = model.top.prefix
    weight_OI, bias_O = (np.asarray(weights.dense[f"{prefix}.0.{kind}"]) for kind in ("weight", "bias"))
    stays = [feature for feature in model.features if feature.name not in names]
    goes = [feature for feature in model.features if feature.name in names]
    rest = replace(model, features=tuple(stays), tables=_read(model, stays), top=None)
    first = 0 if model.bottom is None else model.bottom.widths[-1]
    spans = {f.name: (first + model.columns[f.name], model.table_of(f).dim) for f in model.pooled}
    kept = np.concatenate([np.arange(first), *(np.arange(at, at + n) for at, n in (spans[f.name] for f in stays))])
    dense = {f"{FIRST}.0.weight": np.ascontiguousarray(weight_OI[:, kept.astype(np.int64)]), f"{FIRST}.0.bias": bias_O}
    for at in range(1, len(model.top.activations)):
        for kind in ("weight", "bias"):
            dense[f"{AFTER}.{at - 1}.{kind}"] = weights.dense[f"{prefix}.{at}.{kind}"]
    tables = {}
    for feature in goes:
        at, dim = spans[feature.name]
        table = model.table_of(feature)
        tables[feature.name] = _multiplied(weights.tables[table.name], table, weight_OI[:, at : at + dim])
    rest_weights = Weights({table.name: weights.tables[table.name] for table in rest.tables}, weights.dense)
    activation = "none" if goes else model.top.activations[0]
    layer = Mlp((len(kept), len(bias_O)), (activation,), FIRST)
    sums = _sums(model, goes, layer) if goes else None
    return Folded(rest, rest_weights, sums, Weights(tables), layer, _after(model.top), Weights({}, dense))


def _sums(model: Model, goes: list[Feature], layer: Mlp) -> Model:
    assert model.top is not None
    return Model(
        name=f"{model.name}, first layer",
        tables=tuple(Table(feature.name, model.table_of(feature).rows, layer.widths[1]) for feature in goes),
        features=tuple(replace(feature, table=feature.name) for feature in goes),
        dense_inputs=layer.widths[0],
        bottom=layer,
        interaction=Interaction("sum_relu" if model.top.activations[0] == "relu" else "sum"),
    )


def _after(top: Mlp) -> Mlp | None:
    return Mlp(top.widths[1:], top.activations[1:], AFTER) if len(top.activations) > 1 else None


def _read(model: Model, features: list[Feature]) -> tuple[Table, ...]:
    names = {name for feature in features for name in (feature.table, feature.beside)}
    return tuple(table for table in model.tables if table.name in names)


def _multiplied(stored: NDArray[np.generic], table: Table, weight_OE: NDArray[np.float32]) -> NDArray[np.float32]:
    """[rows, O]: every row times its columns of the layer."""
    weight_EO = weight_OE.astype(np.float64).T
    found = np.empty((table.rows, weight_EO.shape[1]), np.float32)
    for start in range(0, table.rows, _CHUNK_ROWS):
        rows_RE = decode(stored[start : start + _CHUNK_ROWS], table)
        found[start : start + len(rows_RE)] = rows_RE @ weight_EO
    return found
