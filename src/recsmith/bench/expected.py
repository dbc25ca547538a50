"""What an engine must return, in float64. Legend: B samples, L ids, E dim, U different ids."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from recsmith.reference import decode, interact
from recsmith.spec import Jagged, Model

from .engine import Joint

TOLERANCE = 1e-5


def pooled(model: Model, tables: Mapping[str, NDArray[np.generic]], ids: Jagged) -> NDArray[np.float64]:
    """[B, width] sums of the rows that `ids` asks for; only these rows are decoded."""
    out_BW = np.zeros((ids.batch, model.width))
    for at, feature in enumerate(model.features):
        table = model.table_of(feature)
        low, high = at * ids.batch, (at + 1) * ids.batch
        bounds = np.asarray(range(low, high + 1) if ids.offsets is None else ids.offsets[low : high + 1])
        wanted_L = ids.values[bounds[0] : bounds[-1]]
        different_U, inverse_L = np.unique(wanted_L, return_inverse=True)
        rows_UE = decode(tables[table.name][different_U], table)
        sample_L = np.repeat(np.arange(ids.batch), np.diff(bounds))
        column = model.columns[feature.name]
        np.add.at(out_BW[:, column : column + table.dim], sample_L, rows_UE[inverse_L])
    return out_BW


def output(
    model: Model, tables: Mapping[str, NDArray[np.generic]], ids: Jagged, joint: Joint | None
) -> NDArray[np.float64]:
    """[B, width], or with an interaction the top MLP's input."""
    out_BW = pooled(model, tables, ids)
    if joint is None:
        return out_BW
    dot = joint.interaction.kind == "dot"
    vectors_BFE = out_BW.reshape(ids.batch, joint.vectors - 1, joint.dim) if dot else out_BW[:, None, :]
    return interact(joint.interaction, joint.bottom.astype(np.float64), vectors_BFE)


def disagreement(got_BW: NDArray[np.floating], wanted_BW: NDArray[np.float64]) -> str:
    """What is wrong with an engine's output; empty when nothing is."""
    if got_BW.shape != wanted_BW.shape:
        return f"returned shape {list(got_BW.shape)}, not {list(wanted_BW.shape)}"
    scale = float(np.abs(wanted_BW).max(initial=0.0))
    worst = float(np.abs(got_BW - wanted_BW).max(initial=0.0))
    if not worst <= TOLERANCE * scale:
        return f"is off by {worst:.3g} where values reach {scale:.3g}"
    return ""
