"""Embeddings as torch modules, one kind a representation, each filled from and read back as `Weights` keep it.

Computed rows are computed once for each distinct id of a batch. Legend: L ids, U distinct ids, E dim, K hashes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from recsmith.reference import decode
from recsmith.reference.computed import decoder_weight, kept_weights
from recsmith.spec import Dhe, MixedDimension, QuotientRemainder, Table

from .products import ROWS, linear

Arrays = Mapping[str, NDArray[np.generic]]

_BATCH_NORM = {"weight": "weight", "bias": "bias", "mean": "running_mean", "variance": "running_var"}
_ACTIVATIONS = {"relu": torch.relu, "sigmoid": torch.sigmoid, "mish": F.mish, "none": lambda x: x}
_DECODE_AT_ONCE = 1 << 16
_ENCODE_AT_ONCE = 256  # rows, so that what lies between ids and codes stays in a private cache
# Below this, floor(v / prime) of a double is exact: its rounding error stays under 1 / (2 prime).
_EXACT = 2**51


class StoredRows(nn.Module):
    """A plain table, in float32 whatever its rows are kept in; gradients are sparse."""

    def __init__(self, table: Table, arrays: Arrays) -> None:
        super().__init__()
        self.weight = _parameter(arrays["rows"] if table.format.dtype == "fp32" else _decoded(arrays["rows"], table))

    def forward(self, ids_L: Tensor, starts_B: Tensor, pooling: str) -> Tensor:
        """[B, E] pooled rows of bags that start at `starts_B`."""
        return F.embedding_bag(ids_L, self.weight, starts_B, mode=pooling, sparse=True)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The parameters as `Weights` keep them."""
        return {"rows": _array(self.weight)}


def _decoded(stored: NDArray[np.generic], table: Table) -> NDArray[np.float32]:
    found = np.empty((table.rows, table.dim), np.float32)
    for start in range(0, table.rows, _DECODE_AT_ONCE):
        found[start : start + _DECODE_AT_ONCE] = decode(stored[start : start + _DECODE_AT_ONCE], table)
    return found


class ComputedRows(nn.Module, ABC):
    """Rows that are computed from ids.

    Attributes:
        any_rows: whether a row does not depend on the others that are computed with it.
    """

    any_rows = True

    @abstractmethod
    def rows(self, ids_U: Tensor) -> Tensor:
        """[U, E] the rows of these ids."""

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The parameters as `Weights` keep them."""

    def forward(self, ids_L: Tensor, starts_B: Tensor, pooling: str) -> Tensor:
        """[B, E] pooled rows of bags that start at `starts_B`."""
        ids_U, at_L = torch.unique(ids_L, return_inverse=True)
        if self.any_rows:
            ids_U = F.pad(ids_U, (0, -len(ids_U) % ROWS))
        return F.embedding_bag(at_L, self.rows(ids_U), starts_B, mode=pooling)


class DheRows(ComputedRows):
    """Deep hash embedding. Source: [MPREC] B2.

    Args:
        keep_codes: codes of all ids are computed once and kept, rows * k floats, instead of at every step.
    """

    def __init__(self, table: Table, arrays: Arrays, *, keep_codes: bool = False) -> None:
        super().__init__()
        assert isinstance(table.computed, Dhe)
        self.spec, self.table = table.computed, table
        self.register_buffer("a_K", torch.from_numpy(np.array(arrays["a"], np.int64)))
        self.register_buffer("b_K", torch.from_numpy(np.array(arrays["b"], np.int64)))
        layers = len(self.spec.activations())
        self.weights = nn.ParameterList(
            [_parameter(decoder_weight(self.spec, arrays, i, table.dim)) for i in range(layers)]
        )
        self.biases = nn.ParameterList([_parameter(arrays[f"{i}.bias"]) for i in range(layers)])
        self.norm = nn.BatchNorm1d(table.dim) if self.spec.batch_norm else None
        if self.norm is not None:
            self.norm.load_state_dict(
                {own: torch.from_numpy(np.array(arrays[f"norm.{name}"])) for name, own in _BATCH_NORM.items()},
                strict=False,
            )
        self.any_rows = self.norm is None
        self._codes = self._all_codes() if keep_codes else None

    def rows(self, ids_U: Tensor) -> Tensor:
        """[U, E] the rows of these ids."""
        x = self.codes(ids_U) if self._codes is None else self._codes[ids_U]
        for weight, bias, activation in zip(self.weights, self.biases, self.spec.activations(), strict=True):
            x = _ACTIVATIONS[activation](linear(x, weight, bias))
        return x if self.norm is None else self.norm(x)

    def codes(self, ids_U: Tensor) -> Tensor:
        """[U, K] float32 codes of these ids."""
        spec = self.spec
        hashes = self._hashes(ids_U)
        if spec.transform == "uniform":
            return hashes.double().mul_(2 / (spec.buckets - 1)).sub_(1).float()
        u = (hashes.double() + 1) / spec.buckets
        radius, angle = torch.sqrt(-2 * torch.log(u[:, 0::2])), 2 * torch.pi * u[:, 1::2]
        return torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=2).flatten(1).float()

    def _hashes(self, ids_U: Tensor) -> Tensor:
        """[U, K] ((a * id + b) mod prime) mod buckets; in doubles where that is exact, which is faster."""
        prime, buckets = self.spec.prime, self.spec.buckets
        if (prime - 1) * self.table.rows + prime >= _EXACT:
            return (self.a_K * ids_U[:, None] + self.b_K) % prime % buckets
        found = torch.addcmul(self.b_K.double(), self.a_K.double(), ids_U.double()[:, None])
        for modulus in (prime, buckets):
            found.sub_(torch.floor(found / modulus), alpha=modulus)
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The parameters as `Weights` keep them."""
        found = {"a": self.a_K.numpy().copy(), "b": self.b_K.numpy().copy()}
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            found |= {f"{i}.weight": _array(weight), f"{i}.bias": _array(bias)}
        if self.norm is not None:
            found |= {f"norm.{name}": _array(getattr(self.norm, own)) for name, own in _BATCH_NORM.items()}
        return kept_weights(self.spec, found)

    def _all_codes(self) -> Tensor:
        kept = torch.empty(self.table.rows, self.spec.k)
        for start in range(0, self.table.rows, _ENCODE_AT_ONCE):
            stop = min(start + _ENCODE_AT_ONCE, self.table.rows)
            kept[start:stop] = self.codes(torch.arange(start, stop))
        return kept


class QuotientRemainderRows(ComputedRows):
    """Two small tables combined. Source: Shi et al., arXiv 1909.02107."""

    def __init__(self, table: Table, arrays: Arrays) -> None:
        super().__init__()
        assert isinstance(table.computed, QuotientRemainder)
        self.spec = table.computed
        self.quotient, self.remainder = _parameter(arrays["quotient"]), _parameter(arrays["remainder"])

    def rows(self, ids_U: Tensor) -> Tensor:
        """[U, E] the rows of these ids."""
        quotient = F.embedding(ids_U // self.spec.collisions, self.quotient, sparse=True)
        remainder = F.embedding(ids_U % self.spec.collisions, self.remainder)
        return quotient * remainder if self.spec.combine == "multiply" else quotient + remainder

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The parameters as `Weights` keep them."""
        return {"quotient": _array(self.quotient), "remainder": _array(self.remainder)}


class MixedDimensionRows(ComputedRows):
    """Narrow rows and a projection. Source: Ginart et al., arXiv 1909.11810."""

    def __init__(self, table: Table, arrays: Arrays) -> None:
        super().__init__()
        self.narrow, self.projection = _parameter(arrays["narrow"]), _parameter(arrays["projection"])

    def rows(self, ids_U: Tensor) -> Tensor:
        """[U, E] the rows of these ids."""
        return F.linear(F.embedding(ids_U, self.narrow, sparse=True), self.projection)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The parameters as `Weights` keep them."""
        return {"narrow": _array(self.narrow), "projection": _array(self.projection)}


def layer(table: Table, arrays: Arrays, *, keep_codes: bool = False) -> StoredRows | ComputedRows:
    """The module that yields the rows of `table`.

    Args:
        arrays: `rows` of a stored table, the parameters of a computed one.
    """
    match table.computed:
        case None:
            return StoredRows(table, arrays)
        case Dhe():
            return DheRows(table, arrays, keep_codes=keep_codes)
        case QuotientRemainder():
            return QuotientRemainderRows(table, arrays)
        case MixedDimension():
            return MixedDimensionRows(table, arrays)


def _parameter(array: NDArray[np.generic]) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.array(array, np.float32)))


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().numpy().copy()
