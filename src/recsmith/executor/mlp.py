"""An MLP, each layer by whichever of torch's two libraries is faster for the batch.

B samples, I inputs, O outputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recsmith.spec import InputError, Mlp, Weights
from recsmith.spec.model import Activation

from .linear import Packed, import_torch, packs, rounded

if TYPE_CHECKING:
    from torch import Tensor

# Products of fewer operations are left to torch's own library (MKL), which starts 10 us earlier; see `linear` for the
# rates. Both take the same time between 1 and 4 million (layers of four published models; AMD EPYC, Zen 5, AVX-512, 1
# and 2 threads, 2026-11-21); the upper end, so that nothing gets slower where MKL is as fast.
WORTH_FLOPS = 1 << 22
# Weights are packed for so many rows, which suits others as well.
USUAL_ROWS = 128


class _Layer(NamedTuple):
    """`packed` takes batches of at least `worth`."""

    turned: Tensor
    bias: Tensor
    activation: Activation
    packed: Packed | None
    worth: int


class MlpLayers:
    """An MLP with its weights, of which it keeps its own copies.

    Raises:
        UnavailableError: torch is not installed.
        InputError: weights are missing.
    """

    def __init__(self, part: Mlp, weights: Weights) -> None:
        self._torch = import_torch()
        self._layers = [self._layer(part, at, weights) for at in range(len(part.activations))]
        self._first = min(layer.worth for layer in self._layers)

    def packs(self, batch: int) -> bool:
        """Whether a layer goes through oneDNN, and x should have `linear.rounded(batch)` rows."""
        return batch >= self._first

    def __call__(self, x: Tensor, batch: int) -> Tensor:
        """[B, O] for the first `batch` rows of x. Those behind them may be anything but slow numbers."""
        rows = rounded(batch) if self.packs(batch) else batch
        if len(x) != rows:
            x = _sized(x, batch, rows)
        for turned, bias, activation, packed, worth in self._layers:
            if batch >= worth and packed is not None:
                x = packed(x)
                continue
            x = bias.addmm(x, turned)
            if activation == "relu":
                x = x.relu_()
            elif activation == "sigmoid":
                x = x.sigmoid_()
        return x if rows == batch else x[:batch]

    def _layer(self, part: Mlp, at: int, weights: Weights) -> _Layer:
        names = (f"{part.prefix}.{at}.weight", f"{part.prefix}.{at}.bias")
        missing = [name for name in names if name not in weights.dense]
        if missing:
            raise InputError("compile", f"the weights have no '{missing[0]}'", "Check the checkpoint.")
        # Copied: torch wants arrays it may write to, and the originals are often memory maps.
        weight, bias = (np.array(weights.dense[name], np.float32) for name in names)
        activation = part.activations[at]
        worth = -(-WORTH_FLOPS // (2 * weight.size))
        packed = Packed((weight, bias, activation), "float32", USUAL_ROWS) if packs("float32") else None
        return _Layer(self._torch.from_numpy(weight).t(), self._torch.from_numpy(bias), activation, packed, worth)


def _sized(x: Tensor, batch: int, rows: int) -> Tensor:
    """The first `batch` rows of x, and zeros."""
    found = x.new_zeros((rows, x.shape[1]))
    found[:batch] = x[:batch]
    return found
