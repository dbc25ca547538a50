"""Linear layers to be trained, whose products go through oneDNN where that is faster; see `executor.linear`.

Legend: U rows, I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recsmith.executor.linear import packs

# Rows are given in multiples of this: oneDNN writes code for each shape, which takes a millisecond, and keeps about
# a thousand.
ROWS = 16
# Multiplications of a product below which oneDNN's call costs more than it saves.
# 2-core AMD EPYC (family 26), one thread, 2026-11-21: 32 x 448 x 224 took 46 us not 65, 8 x 448 x 224 28 and not 23;
# a step of 128 samples with 26 DHEs sized by table 33 ms and not 46.
_WORTH = 1 << 21


def linear(x_UI: Tensor, weight_OI: Tensor, bias_O: Tensor) -> Tensor:
    """[U, O] x W^T + b, with gradients of all three."""
    if x_UI.shape[0] % ROWS or x_UI.shape[0] * weight_OI.numel() < _WORTH or not packs("float32"):
        return F.linear(x_UI, weight_OI, bias_O)
    made: Tensor = _Linear.apply(x_UI, weight_OI, bias_O)
    return made


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_UI: Tensor, weight_OI: Tensor, bias_O: Tensor) -> Tensor:
        ctx.save_for_backward(x_UI, weight_OI)
        return _product(x_UI, weight_OI, bias_O)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x_UI, weight_OI = ctx.saved_tensors
        (back_UO,) = gradients
        back_UI = _product(back_UO, weight_OI.t()) if ctx.needs_input_grad[0] else None
        return back_UI, _product(back_UO.t(), x_UI.t()), back_UO.sum(0)


def _product(x_UI: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    made: Tensor = torch.ops.mkldnn._linear_pointwise(x_UI, weight_OI, bias_O, "none", [], "")
    return made
