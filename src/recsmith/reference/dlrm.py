"""The dense parts of DLRM in float64: MLPs, interaction, output."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Interaction, Jagged, Mlp, Model, Weights

from .oracle import lookup


def mlp(part: Mlp, weights: Weights, x_BI: NDArray[np.float64]) -> NDArray[np.float64]:
    """[B, widths[-1]]: x -> activation(W x + b), layer by layer."""
    for layer, activation in enumerate(part.activations):
        w_OI = weights.dense[f"{part.prefix}.{layer}.weight"].astype(np.float64)
        b_O = weights.dense[f"{part.prefix}.{layer}.bias"].astype(np.float64)
        x_BI = x_BI @ w_OI.T + b_O
        if activation == "relu":
            x_BI = np.maximum(x_BI, 0.0)
        elif activation == "sigmoid":
            x_BI = 1.0 / (1.0 + np.exp(-x_BI))
    return x_BI


def interact(
    kind: Interaction, bottom_BE: NDArray[np.float64] | None, vectors_BFE: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The top MLP's input [B, I].

    dot: bottom output, then x_i . x_j for j < i (j <= i with self terms), i over bottom output and look-ups
    in order. cat: bottom output, then the look-ups. sum: all of them added up; sum_relu: what of that is above zero.
    """
    batch = vectors_BFE.shape[0]
    if kind.kind in ("sum", "sum_relu") and bottom_BE is not None:
        sums_BE = bottom_BE + vectors_BFE.sum(axis=1)
        return np.maximum(sums_BE, 0.0) if kind.kind == "sum_relu" else sums_BE
    if kind.kind == "cat" or bottom_BE is None:
        flat = vectors_BFE.reshape(batch, vectors_BFE.shape[1] * vectors_BFE.shape[2])
        return flat if bottom_BE is None else np.concatenate([bottom_BE, flat], axis=1)
    x_BFE = np.concatenate([bottom_BE[:, None, :], vectors_BFE], axis=1)
    products_BFF = x_BFE @ x_BFE.transpose(0, 2, 1)
    i, j = np.tril_indices(x_BFE.shape[1], 0 if kind.self_terms else -1)
    return np.concatenate([bottom_BE, products_BFF[:, i, j]], axis=1)


def joined(model: Model, weights: Weights, ids: Jagged, bottom_BE: NDArray[np.floating] | None) -> NDArray[np.float64]:
    """The top MLP's input [B, I] from ids and the bottom MLP's output: look-up, then interaction."""
    assert model.interaction is not None
    pooled_BW, _ = lookup(model, weights, ids)
    bottom = None if bottom_BE is None else bottom_BE.astype(np.float64)
    return interact(model.interaction, bottom, _vectors(model, pooled_BW))


def _vectors(model: Model, pooled_BW: NDArray[np.float64]) -> NDArray[np.float64]:
    """[B, F, E] for products and sums, [B, 1, W] to be concatenated."""
    if model.interaction is not None and model.interaction.kind != "cat" and model.bottom is not None:
        return pooled_BW.reshape(len(pooled_BW), len(model.vectors), model.bottom.widths[-1])
    return pooled_BW[:, None, :]


def forward(
    model: Model, weights: Weights, dense_BD: NDArray[np.floating], pooled_BW: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The model's output [B] from dense inputs and the look-up's output."""
    assert model.interaction is not None and model.top is not None
    bottom_BE = None if model.bottom is None else mlp(model.bottom, weights, dense_BD.astype(np.float64))
    vectors = _vectors(model, pooled_BW)
    return mlp(model.top, weights, interact(model.interaction, bottom_BE, vectors))[:, 0]
