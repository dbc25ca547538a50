"""Deep hash embedding in plain PyTorch, written from the published formula, and what its products could reach."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recsmith.executor.linear import Layers
from recsmith.spec import Dhe, Record, Table

if TYPE_CHECKING:
    from recsmith.executor.rows import DheRows

_SIDE = 2048


class PlainDhe:
    """Every hash as int64 [L, K], the transform, then linear layers. Source: [MPREC] B2.

    Args:
        dtype: of the decoder's products, as torch names it.
    """

    def __init__(self, table: Table, arrays: Mapping[str, NDArray[np.generic]], dtype: str) -> None:
        import torch

        assert isinstance(table.computed, Dhe) and table.computed.transform == "uniform"
        self._torch = torch
        self._dhe = table.computed
        self._dtype = getattr(torch, dtype)
        self._a, self._b = (torch.from_numpy(np.array(arrays[name])) for name in "ab")
        self._layers = [
            (*(torch.from_numpy(np.array(arrays[f"{at}.{part}"])).to(self._dtype) for part in ("weight", "bias")), name)
            for at, name in enumerate(self._dhe.activations())
        ]

    def rows(self, ids_L: NDArray[np.int64]) -> Any:
        """[L, dim] of `dtype`."""
        torch, dhe = self._torch, self._dhe
        with torch.inference_mode():
            hashed = (torch.outer(torch.from_numpy(ids_L), self._a) + self._b) % dhe.prime % dhe.buckets
            x = (hashed / (dhe.buckets - 1) * 2 - 1).to(self._dtype)
            for weight, bias, activation in self._layers:
                x = torch.nn.functional.linear(x, weight, bias)
                x = x.relu_() if activation == "relu" else x.sigmoid_() if activation == "sigmoid" else x
            return x


class Rates(Record, frozen=True):
    """What the parts of our DHE take, and the machine's rate for large products; medians of one run.

    Attributes:
        encode_s, decode_s: codes of a batch of distinct ids; rows of codes that are there.
        decoder_flops_per_s: of the decoder's products.
        gemm_flops_per_s: of products of 2048 x 2048 matrices in the same number format, by the same library.
    """

    encode_s: float
    decode_s: float
    decoder_flops_per_s: float
    gemm_flops_per_s: float

    @property
    def share(self) -> float:
        """The decoder's part of the machine's rate."""
        return self.decoder_flops_per_s / self.gemm_flops_per_s


class RateProbe:
    """Takes the times for `Rates`, once a call of `sample`."""

    def __init__(self, maker: DheRows, table: Table, dtype: str, batch: int) -> None:
        import torch

        self._torch = torch
        self._maker, self._table = maker, table
        side = np.random.default_rng(0).normal(size=(_SIDE, _SIDE))
        self._product = Layers([(side, np.zeros(_SIDE), "none")], dtype, _SIDE)
        self._square = torch.from_numpy(side).to(getattr(torch, dtype))
        self._ids = np.arange(batch) * (table.rows // batch)
        assert isinstance(table.computed, Dhe)
        self._codes = torch.empty((batch, table.computed.k), dtype=self._square.dtype)
        self._written = (self._codes if dtype == "float32" else self._codes.view(torch.uint16)).numpy()
        self._seconds: tuple[list[float], list[float], list[float]] = ([], [], [])

    def sample(self) -> None:
        """Time each part once."""
        parts = (
            lambda: self._maker.encode(self._ids, self._written, self._torch.get_num_threads()),
            lambda: self._maker.decode(self._codes),
            lambda: self._product(self._square),
        )
        with self._torch.inference_mode():
            for kept, part in zip(self._seconds, parts, strict=True):
                kept.append(timed(part))

    def rates(self) -> Rates:
        """By the medians of all samples but the first, which warmed up."""
        encode_s, decode_s, square_s = (float(np.median(kept[1:])) for kept in self._seconds)
        assert isinstance(self._table.computed, Dhe)
        widths = self._table.computed.widths(self._table.dim)
        products = sum(2 * first * second for first, second in pairwise(widths))
        return Rates(encode_s, decode_s, len(self._ids) * products / decode_s, 2 * _SIDE**3 / square_s)


def timed(call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
