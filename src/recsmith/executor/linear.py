"""Stacks of linear layers by oneDNN, through torch.

torch's own float32 products go through MKL, which leaves half of the vector width of some processors unused (AMD EPYC,
Zen 5, AVX-512: 110 of 255 GFLOP/s a core; `python benchmarks/dhe.py`). oneDNN does not, takes weights packed
beforehand and applies the activation while results are in registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import UnavailableError
from recsmith.spec.representation import DecoderActivation

if TYPE_CHECKING:
    from torch import Tensor

Layer = tuple[NDArray[np.generic], NDArray[np.generic], DecoderActivation]

# What oneDNN applies itself.
_FUSED = ("relu", "sigmoid")


class Packed:
    """x -> activation(W x + b), for x [rows, in] whose columns are adjacent.

    Args:
        layer: weight [out, in], bias [out] and activation.
        dtype: of the product, as torch names it.
        rows: that x usually has; the weight is packed for as many.

    Raises:
        UnavailableError: torch is not installed.
    """

    def __init__(self, layer: Layer, dtype: str, rows: int) -> None:
        self._torch = import_torch()
        kind = getattr(self._torch, dtype)
        weight, bias, self._activation = layer
        # Copied: torch wants arrays it may write to, and the originals are often memory maps.
        self._weight, self._bias = (
            self._torch.from_numpy(np.array(array, np.float32)).to(kind) for array in (weight, bias)
        )
        self._packed = packs(dtype)
        if self._packed:
            self._weight = self._torch.ops.mkldnn._reorder_linear_weight(self._weight, rows)

    def __call__(self, x: Tensor) -> Tensor:
        """[rows, out] for x [rows, in], both of the product's number format."""
        if not self._packed:
            return self._activated(self._torch.nn.functional.linear(x, self._weight, self._bias))
        own = self._activation if self._activation in _FUSED else "none"
        x = self._torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, own, [], "")
        return x if self._activation in _FUSED else self._activated(x)

    def _activated(self, x: Tensor) -> Tensor:
        match self._activation:
            case "relu":
                return x.relu_()
            case "sigmoid":
                return x.sigmoid_()
            case "mish":
                return self._torch.nn.functional.mish(x, inplace=True)
        return x


class Layers:
    """Layer by layer; see `Packed`."""

    def __init__(self, layers: Sequence[Layer], dtype: str, rows: int) -> None:
        self._layers = [Packed(layer, dtype, rows) for layer in layers]

    def __call__(self, x: Tensor) -> Tensor:
        """[L, out of the last layer] for x [L, in], both of the products' number format."""
        for layer in self._layers:
            x = layer(x)
        return x


def rounded(rows: int) -> int:
    """`rows` or a few more, at most 1/16: few different sizes in all.

    The first product of each size costs oneDNN a millisecond or two, in which it writes the code for it.
    """
    step = max(1, 1 << max(0, rows.bit_length() - 5))
    return -(-rows // step) * step


def packs(dtype: str) -> bool:
    """Whether oneDNN is there for products of `dtype`."""
    torch = import_torch()
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    return dtype == "float32" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def import_torch() -> Any:
    """torch.

    Raises:
        UnavailableError: it is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise UnavailableError(
            "compile", "the dense part needs torch, which is missing", "pip install torch"
        ) from error
    return torch
