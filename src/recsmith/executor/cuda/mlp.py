"""An MLP by torch's operators, as they are recorded in a graph. P samples with padding, I inputs, O outputs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from recsmith.spec import InputError, Mlp, Weights
from recsmith.spec.model import Activation

from ..linear import import_torch
from .torch_side import TorchSide


class _Layer(NamedTuple):
    turned: Any
    bias: Any
    activation: Activation


class GpuMlp:
    """x [P, I] to [P, O]; relu is part of the product where torch's library can.

    Args:
        dtype: of inputs, weights and what lies between.
        columns: that x has, when they are more than the first layer's inputs; its weights for them are zeros.

    Raises:
        InputError: weights are missing.
    """

    def __init__(self, side: TorchSide, part: Mlp, weights: Weights, dtype: str, columns: int) -> None:
        self._torch = import_torch()
        self._layers = [
            self._layer(side, part, at, weights, dtype, columns if at == 0 else 0)
            for at in range(len(part.activations))
        ]
        self.outputs = part.widths[-1]

    def __call__(self, x: Any, out: Any) -> None:
        """Write the last layer's output to `out` [P, O], of any float type, rows any distance apart."""
        x = x.to(self._layers[0].turned.dtype)
        for layer in self._layers[:-1]:
            x = self._activated(layer, x)
        self._write(self._layers[-1], x, out)

    def _activated(self, layer: _Layer, x: Any) -> Any:
        if layer.activation == "relu":
            return self._torch._addmm_activation(layer.bias, x, layer.turned, use_gelu=False)
        x = self._torch.addmm(layer.bias, x, layer.turned)
        return x.sigmoid_() if layer.activation == "sigmoid" else x

    def _write(self, layer: _Layer, x: Any, out: Any) -> None:
        if layer.activation == "sigmoid":
            # In float32, whatever the products are in: a probability near 1 has few bits left in 16.
            self._torch.sigmoid(self._torch.addmm(layer.bias, x, layer.turned).float(), out=out)
            return
        whole = out.is_contiguous() and out.dtype == x.dtype
        if not whole:
            out.copy_(self._activated(layer, x))
        elif layer.activation == "relu":
            self._torch._addmm_activation(layer.bias, x, layer.turned, use_gelu=False, out=out)
        else:
            self._torch.addmm(layer.bias, x, layer.turned, out=out)

    def _layer(self, side: TorchSide, part: Mlp, at: int, weights: Weights, dtype: str, columns: int) -> _Layer:
        names = (f"{part.prefix}.{at}.weight", f"{part.prefix}.{at}.bias")
        missing = [name for name in names if name not in weights.dense]
        if missing:
            raise InputError("compile", f"the weights have no '{missing[0]}'", "Check the checkpoint.")
        weight, bias = (np.asarray(weights.dense[name], np.float32) for name in names)
        weight = np.pad(weight, ((0, 0), (0, max(0, columns - weight.shape[1]))))
        return _Layer(side.parameter(weight, dtype).t(), side.parameter(bias, dtype), part.activations[at])
