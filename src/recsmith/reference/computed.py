"""Rows that are computed, in float64, written as the papers' formulas are.

Legend: L ids, K hashes, E dim. Source: [MPREC] B2 for DHE.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Dhe, MixedDimension, QuotientRemainder, RowFormat, Table

from . import rows

# The epsilon of torch's batch norm, which the published decoder uses.
EPSILON = 1e-5

Parameters = Mapping[str, NDArray[np.generic]]


def computed_rows(table: Table, parameters: Parameters, ids_L: NDArray[np.integer]) -> NDArray[np.float64]:
    """The rows [L, E] of `ids_L` in a computed table.

    Args:
        parameters: by their own names, as `Weights.of` gives them.
    """
    match table.computed:
        case Dhe() as dhe:
            return decode(dhe, parameters, codes(dhe, parameters, ids_L), table.dim)
        case QuotientRemainder() as settings:
            quotient = parameters["quotient"].astype(np.float64)[ids_L // settings.collisions]
            remainder = parameters["remainder"].astype(np.float64)[ids_L % settings.collisions]
            return quotient * remainder if settings.combine == "multiply" else quotient + remainder
        case MixedDimension():
            return parameters["narrow"].astype(np.float64)[ids_L] @ parameters["projection"].astype(np.float64).T
        case None:
            raise AssertionError(f"the rows of table '{table.name}' are stored")


def hash_ids(dhe: Dhe, parameters: Parameters, ids_L: NDArray[np.integer]) -> NDArray[np.int64]:
    """h(x) = ((a x + b) mod p) mod m: [L, K], in Python's integers, which do not overflow."""
    x, a, b = ids_L.astype(object), parameters["a"].astype(object), parameters["b"].astype(object)
    hashed = ((x[:, None] * a + b) % dhe.prime) % dhe.buckets
    return hashed.astype(np.int64).reshape(len(ids_L), dhe.k)


def codes(dhe: Dhe, parameters: Parameters, ids_L: NDArray[np.integer]) -> NDArray[np.float64]:
    """[L, K]: the hashes as numbers.

    uniform: 2 h / (m - 1) - 1. gaussian: u = (h + 1) / m; of neighbours u, v: sqrt(-2 ln u) cos(2 pi v) and
    sqrt(-2 ln u) sin(2 pi v).
    """
    hashed = hash_ids(dhe, parameters, ids_L)
    if dhe.transform == "uniform":
        return 2.0 * hashed / (dhe.buckets - 1) - 1.0
    uniform = (hashed + 1) / dhe.buckets
    radius, angle = np.sqrt(-2.0 * np.log(uniform[:, ::2])), 2.0 * np.pi * uniform[:, 1::2]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=2).reshape(uniform.shape)


def decode(dhe: Dhe, parameters: Parameters, x_LK: NDArray[np.float64], dim: int) -> NDArray[np.float64]:
    """[L, E]: x -> f(W x + b), layer by layer; then the batch norm, if there is one, by its running statistics."""
    x = x_LK
    for layer, activation in enumerate(dhe.activations()):
        w_OI = decoder_weight(dhe, parameters, layer, dim)
        x = activate(activation, x @ w_OI.T + parameters[f"{layer}.bias"].astype(np.float64))
    if dhe.batch_norm:
        weight, bias, mean, variance = (
            parameters[f"norm.{part}"].astype(np.float64) for part in ("weight", "bias", "mean", "variance")
        )
        x = (x - mean) / np.sqrt(variance + EPSILON) * weight + bias
    return x.reshape(len(x_LK), dim)


def decoder_weight(dhe: Dhe, parameters: Parameters, layer: int, dim: int) -> NDArray[np.float64]:
    """[out, in] of a decoder layer, whatever format it is kept in."""
    width_in, width_out = dhe.widths(dim)[layer : layer + 2]
    return rows.decode(parameters[f"{layer}.weight"], Table("", width_out, width_in, RowFormat(dhe.dtype)))


def kept_weights(dhe: Dhe, parameters: Parameters) -> dict[str, NDArray[np.generic]]:
    """Float32 parameters with the decoder's weights in the format of `dhe`."""
    matrices = {f"{layer}.weight" for layer in range(len(dhe.activations()))}
    return {
        name: rows.encode(array.astype(np.float32), RowFormat(dhe.dtype)) if name in matrices else array
        for name, array in parameters.items()
    }


def single_weights(dhe: Dhe, parameters: Parameters, dim: int) -> dict[str, NDArray[np.generic]]:
    """The parameters with the decoder's weights in float32."""
    layers = range(len(dhe.activations()))
    single = {f"{i}.weight": decoder_weight(dhe, parameters, i, dim).astype(np.float32) for i in layers}
    return {**parameters, **single}


def activate(name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """relu: max(x, 0). sigmoid: 1 / (1 + e^-x). mish: x tanh(ln(1 + e^x)). none: x."""
    match name:
        case "relu":
            return np.maximum(x, 0.0)
        case "sigmoid":
            return 1.0 / (1.0 + np.exp(-x))
        case "mish":
            return x * np.tanh(np.logaddexp(0.0, x))
    return x
