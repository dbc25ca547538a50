"""Rows of computed tables in float32: hashes in native code, products by torch.

U distinct ids, K hashes, E dim.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

import recsmith._native as _native
from recsmith.reference.computed import EPSILON, decoder_weight
from recsmith.spec import DecoderPrecision, Dhe, MixedDimension, QuotientRemainder, Table, UnavailableError

from .codes import room
from .eighths import EighthLayers
from .linear import Layers, import_torch, rounded

if TYPE_CHECKING:
    from torch import Tensor

Parameters = Mapping[str, NDArray[np.generic]]

# Ids whose codes exist at a time.
BLOCK = 2048
# Above this many buckets the tables of a Gaussian transform would not stay in a cache.
_TABLED_BUCKETS = 1 << 24


class RowMaker(Protocol):
    """Computes rows of one table."""

    def write(self, ids_U: NDArray[np.int64], out_UE: NDArray[np.float32]) -> None:
        """Write the rows of `ids_U`, which lie inside the table, to `out_UE`. One thread at a time."""


def row_maker(table: Table, parameters: Parameters, target: str, precision: DecoderPrecision = "fp32") -> RowMaker:
    """What computes the rows of `table`.

    Args:
        parameters: by their own names.
        target: instruction set of the native part.
        precision: of a DHE decoder's products; others are float32. `fp8` only rounds so, which takes longer.

    Raises:
        UnavailableError: torch is not installed, or the precision is one of GPUs.
    """
    match table.computed:
        case Dhe() as dhe:
            if precision == "tf32":
                raise UnavailableError(
                    "compile",
                    f"table '{table.name}' is to be computed in tf32, in which GPUs alone multiply",
                    "Plan it in fp32 or bf16: recsmith plan --precision bf16.",
                )
            return DheRows(dhe, table.dim, parameters, target, precision)
        case QuotientRemainder() as settings:
            return QuotientRemainderRows(settings, parameters)
        case MixedDimension():
            return MixedDimensionRows(parameters)
        case None:
            raise AssertionError(f"the rows of table '{table.name}' are stored")


class DheRows:
    """Codes block by block, decoded while they are in the cache."""

    def __init__(
        self, dhe: Dhe, dim: int, parameters: Parameters, target: str, precision: Literal["fp32", "bf16", "fp8"]
    ) -> None:
        self._torch = import_torch()
        self._dhe = dhe
        self.k, self.dim = dhe.k, dim
        self._target = target
        self._a, self._b = (np.ascontiguousarray(parameters[name], np.int64) for name in "ab")
        self._tables = gaussian_tables(dhe) if dhe.transform == "gaussian" else None
        dtype = "bfloat16" if precision == "bf16" else "float32"
        layers = [
            (decoder_weight(dhe, parameters, layer, dim), parameters[f"{layer}.bias"], activation)
            for layer, activation in enumerate(dhe.activations())
        ]
        self._layers = EighthLayers(layers, BLOCK) if precision == "fp8" else Layers(layers, dtype, BLOCK)
        self._norm = self._scale_and_shift(parameters) if dhe.batch_norm else None
        self._dtype = dtype

    def write(self, ids_U: NDArray[np.int64], out_UE: NDArray[np.float32]) -> None:
        """Write the rows of `ids_U` to `out_UE`."""
        torch = self._torch
        with torch.inference_mode():
            for start in range(0, len(ids_U), BLOCK):
                ids = ids_U[start : start + BLOCK]
                codes, written = room(rounded(len(ids)), self.k, self._dtype)
                self.encode(ids, written[: len(ids)], torch.get_num_threads())
                rows = self.decode(codes)
                torch.from_numpy(out_UE[start : start + len(ids)]).copy_(rows[: len(ids)])

    def encode(self, ids_U: NDArray[np.int64], out_UK: NDArray[Any], threads: int) -> None:
        """Write the codes of `ids_U`: float32, or bits of bfloat16 as uint16."""
        dhe = self._dhe
        _native.encode(self._target, ids_U, self._a, self._b, dhe.prime, dhe.buckets, out_UK, self._tables, threads)

    def decode(self, x: Tensor) -> Tensor:
        """The decoder's output [U, E] for codes [U, K]."""
        x = self._layers(x)
        if self._norm is not None:
            x = x.float() * self._norm[0] + self._norm[1]
        return x

    def _scale_and_shift(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        weight, bias, mean, variance = (
            parameters[f"norm.{part}"].astype(np.float64) for part in ("weight", "bias", "mean", "variance")
        )
        scale = weight / np.sqrt(variance + EPSILON)
        return self._tensor(scale), self._tensor(bias - mean * scale)

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        # Copied: torch wants arrays it may write to, and the originals are often memory maps.
        return self._torch.from_numpy(np.array(array, np.float32))


class QuotientRemainderRows:
    """A row by the quotient, combined with a row by the remainder."""

    def __init__(self, settings: QuotientRemainder, parameters: Parameters) -> None:
        self._collisions = settings.collisions
        self._combine = np.multiply if settings.combine == "multiply" else np.add
        self._quotient, self._remainder = parameters["quotient"], parameters["remainder"]

    def write(self, ids_U: NDArray[np.int64], out_UE: NDArray[np.float32]) -> None:
        """Write the rows of `ids_U` to `out_UE`."""
        quotient, remainder = np.divmod(ids_U, self._collisions)
        self._combine(self._quotient[quotient], self._remainder[remainder], out=out_UE)


class MixedDimensionRows:
    """Narrow rows times the projection."""

    def __init__(self, parameters: Parameters) -> None:
        self._narrow = parameters["narrow"]
        self._projection = np.ascontiguousarray(parameters["projection"].T)

    def write(self, ids_U: NDArray[np.int64], out_UE: NDArray[np.float32]) -> None:
        """Write the rows of `ids_U` to `out_UE`."""
        np.matmul(self._narrow[ids_U], self._projection, out=out_UE)


def gaussian_tables(dhe: Dhe) -> NDArray[np.float32]:
    """[3, buckets]: for u = (h + 1) / buckets, sqrt(-2 ln u), cos(2 pi u) and sin(2 pi u)."""
    if dhe.buckets > _TABLED_BUCKETS:
        from recsmith.spec import UnavailableError

        raise UnavailableError(
            "compile", f"a Gaussian DHE of {dhe.buckets} buckets is not supported", f"Use at most {_TABLED_BUCKETS}."
        )
    u = np.arange(1, dhe.buckets + 1) / dhe.buckets
    return np.stack([np.sqrt(-2 * np.log(u)), np.cos(2 * np.pi * u), np.sin(2 * np.pi * u)]).astype(np.float32)
