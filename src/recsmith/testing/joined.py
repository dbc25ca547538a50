"""Look-ups with the interaction behind them: cases, and what any executor must give on them.

Legend: B samples, F features, E dim, I columns of the top MLP's input, X vectors of a sample (F + 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsmith.reference import encode, joined, lookup
from recsmith.spec import (
    Feature,
    Interaction,
    InteractionKind,
    Jagged,
    Mlp,
    Model,
    Pooling,
    RowDtype,
    RowFormat,
    Table,
    Weights,
)

from .cases import Case, tolerance


@dataclass(frozen=True, slots=True)
class JoinedCase:
    """A case with the bottom MLP's output.

    Attributes:
        bottom: [B, E] float32.
    """

    case: Case
    bottom: NDArray[np.float32]

    def __str__(self) -> str:
        return self.case.name


def joined_case(
    seed: int,
    *,
    kind: InteractionKind = "dot",
    self_terms: bool = False,
    features: int = 5,
    dim: int = 16,
    batch: int = 9,
    one_hot: bool = False,
) -> JoinedCase:
    """A case drawn from `seed`: formats, poolings, padding, shared tables, bag lengths; all vectors of one dim.

    Args:
        one_hot: one id a bag, no offsets, float32 rows for all features but the last.
    """
    draw = np.random.default_rng(seed)
    dtypes: tuple[RowDtype, ...] = ("fp32", "fp16", "bf16", "int8", "int4")
    tables = tuple(
        Table(
            f"t{i}",
            int(draw.integers(1, 200)),
            dim,
            RowFormat("fp32" if one_hot and i < features - 1 else dtypes[int(draw.integers(5))]),
        )
        for i in range(features)
    )
    made = tuple(_feature(i, tables[i], draw, one_hot=one_hot) for i in range(features))
    lengths = draw.integers(1 if one_hot else 0, 2 if one_hot else 5, size=(features, batch))
    parts = [draw.integers(0, table.rows, int(n.sum())) for table, n in zip(tables, lengths, strict=True)]
    values = np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int64)
    weights = draw.normal(size=len(values)).astype(np.float32) if any(f.weighted for f in made) else None
    offsets = np.concatenate([[0], np.cumsum(lengths.reshape(-1))]).astype(np.int64)
    model = _model(tables, made, Interaction(kind, self_terms), dim)
    stored = {t.name: encode(draw.normal(size=(t.rows, t.dim)), t.format) for t in tables}
    ids = Jagged(values, None if one_hot else offsets, batch, weights)
    case = Case(f"joined-{seed}", model, Weights(stored, _parameters(model, draw)), ids)
    return JoinedCase(case, draw.normal(size=(batch, dim)).astype(np.float32))


def agree_joined(joined_case: JoinedCase, found_BI: NDArray[np.float32]) -> None:
    """Return when an interaction's output is the oracle's.

    Raises:
        AssertionError: names the case, the largest error and the bound.
    """
    case, bottom = joined_case.case, joined_case.bottom
    wanted_BI = joined(case.model, case.weights, case.ids, bottom)
    assert found_BI.shape == wanted_BI.shape, f"{case}: shape {found_BI.shape}, wanted {wanted_BI.shape}"
    over = float((np.abs(found_BI - wanted_BI) / _allowed(case, bottom, wanted_BI)).max(initial=0.0))
    assert over <= 1, f"{case}: off by {over:.3g} times what is allowed"


def _allowed(case: Case, bottom_BE: NDArray[np.float32], wanted_BI: NDArray[np.float64]) -> NDArray[np.float64]:
    """[B, I]: what float32 sums may be off by, from the vectors' own errors and those of adding up E products."""
    pooled_BW, _ = lookup(case.model, case.weights, case.ids)
    vector = tolerance(case, pooled_BW)
    interaction = case.model.interaction
    assert interaction is not None
    if interaction.kind == "cat":
        return np.full(wanted_BI.shape, vector)
    dim = bottom_BE.shape[1]
    if interaction.kind != "dot":
        vectors = len(case.model.pooled) + 1
        size = np.abs(bottom_BE).max(initial=0.0) + len(case.model.pooled) * np.abs(pooled_BW).max(initial=0.0)
        return np.full(wanted_BI.shape, vectors * (vector + np.finfo(np.float32).eps * size))
    x_BXE = np.abs(
        np.concatenate([bottom_BE, pooled_BW], axis=1).reshape(len(bottom_BE), len(case.model.pooled) + 1, dim)
    )
    x_BXE += vector
    rounding_BXX = (dim + 2) * np.finfo(np.float32).eps * (x_BXE @ x_BXE.transpose(0, 2, 1))
    length_BX = x_BXE.sum(axis=2)
    errors_BXX = rounding_BXX + vector * (length_BX[:, :, None] + length_BX[:, None, :])
    i, j = np.tril_indices(x_BXE.shape[1], 0 if interaction.self_terms else -1)
    return np.concatenate([np.full(bottom_BE.shape, vector), errors_BXX[:, i, j]], axis=1)


def _feature(at: int, table: Table, draw: np.random.Generator, *, one_hot: bool) -> Feature:
    if one_hot:
        return Feature(f"f{at}", table.name)
    poolings: tuple[Pooling, ...] = ("sum", "mean")
    pooling = poolings[int(draw.integers(2))]
    padding = int(draw.integers(table.rows)) if draw.random() < 0.2 else None
    return Feature(f"f{at}", table.name, pooling, pooling == "sum" and bool(draw.random() < 0.3), padding)


def _model(tables: tuple[Table, ...], features: tuple[Feature, ...], kind: Interaction, dim: int) -> Model:
    vectors = len(features) + 1
    pairs = vectors * (vectors + (1 if kind.self_terms else -1)) // 2
    width = {"dot": dim + pairs, "cat": vectors * dim}.get(kind.kind, dim)
    bottom, top = Mlp((2, dim), ("relu",), "bottom"), Mlp((width, 1), ("sigmoid",), "top")
    return Model("joined", tables, features, 2, bottom, kind, top)


def _parameters(model: Model, draw: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    found = {}
    for part in (model.bottom, model.top):
        assert part is not None
        found[f"{part.prefix}.0.weight"] = draw.normal(size=part.widths[::-1]).astype(np.float32)
        found[f"{part.prefix}.0.bias"] = draw.normal(size=part.widths[1]).astype(np.float32)
    return found
