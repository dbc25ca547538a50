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

from recsmith.spec.representation import DecoderActivation

from .dense import _import_torch

if TYPE_CHECKING:
    from torch import Tensor

Layer = tuple[NDArray[np.generic], NDArray[np.generic], DecoderActivation]

# What oneDNN applies itself.
_FUSED = ("relu", "sigmoid")


class Layers:
    """x -> activation(W x + b), layer by layer.

    Args:
        layers: weight [out, in], bias [out] and activation of each.
        dtype: of the products, as torch names it.
        rows: that x usually has; weights are packed for as many.

    Raises:
        UnavailableError: torch is not installed.
    """

    def __init__(self, layers: Sequence[Layer], dtype: str, rows: int) -> None:
        self._torch = _import_torch()
        kind = getattr(self._torch, dtype)
        self._packed = _packs(self._torch, dtype)
        self._layers = []
        for weight, bias, activation in layers:
            # Copied: torch wants arrays it may write to, and the originals are often memory maps.
            w, b = (self._torch.from_numpy(np.array(array, np.float32)).to(kind) for array in (weight, bias))
            if self._packed:
                w = self._torch.ops.mkldnn._reorder_linear_weight(w, rows)
            self._layers.append((w, b, activation))

    def __call__(self, x: Tensor) -> Tensor:
        """[L, out of the last layer] for x [L, in], both of the products' number format."""
        for weight, bias, activation in self._layers:
            if self._packed:
                own = activation if activation in _FUSED else "none"
                x = self._torch.ops.mkldnn._linear_pointwise(x, weight, bias, own, [], "")
                x = x if activation in _FUSED else self._activated(x, activation)
            else:
                x = self._activated(self._torch.nn.functional.linear(x, weight, bias), activation)
        return x

    def _activated(self, x: Tensor, activation: str) -> Tensor:
        match activation:
            case "relu":
                return x.relu_()
            case "sigmoid":
                return x.sigmoid_()
            case "mish":
                return self._torch.nn.functional.mish(x, inplace=True)
        return x


def rounded(rows: int) -> int:
    """`rows` or a few more, at most 1/16: few different sizes in all.

    The first product of each size costs oneDNN a millisecond or two, in which it writes the code for it.
    """
    step = max(1, 1 << max(0, rows.bit_length() - 5))
    return -(-rows // step) * step


def _packs(torch: Any, dtype: str) -> bool:
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    return dtype == "float32" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
