"""A decoder as tensor cores multiply it in e4m3, on the CPU: to tell its quality, not for speed.

U ids, I inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from recsmith.reference import eighths

from .linear import Layer, Layers, import_torch

if TYPE_CHECKING:
    from torch import Tensor


class EighthLayers:
    """Layer by layer in float32, of codes, weights and hidden vectors that were rounded to e4m3.

    Weights are divided by a scale of each output before, and sums multiplied with it.

    Raises:
        UnavailableError: torch is not installed.
    """

    def __init__(self, layers: Sequence[Layer], rows: int) -> None:
        self._torch = import_torch()
        self._layers = [Layers([_rounded(layer)], "float32", rows) for layer in layers]

    def __call__(self, x_UI: Tensor) -> Tensor:
        """[U, out of the last layer]."""
        kind = self._torch.float8_e4m3fn
        for layer in self._layers:
            x_UI = layer(x_UI.clamp(-eighths.LARGEST, eighths.LARGEST).to(kind).float())
        return x_UI


def _rounded(layer: Layer) -> Layer:
    weight_OI, bias_O, activation = layer
    scale_O1 = eighths.scales(np.asarray(weight_OI, np.float32))[:, None]
    rounded_OI = eighths.decoded(eighths.encoded(np.asarray(weight_OI, np.float32) / scale_O1)) * scale_O1
    return rounded_OI.astype(np.float32), bias_O, activation
