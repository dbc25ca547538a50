"""Linear layers of a captured forward, each by whichever of torch's two libraries is faster for the batch; see `mlp`.

B rows, I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from recsmith.spec.representation import DecoderActivation

from .linear import Packed, packs, rounded
from .mlp import USUAL_ROWS, WORTH_FLOPS

_LINEAR = torch.ops.aten.linear.default
_ACTIVATIONS: dict[Any, DecoderActivation] = {
    torch.ops.aten.relu.default: "relu",
    torch.ops.aten.sigmoid.default: "sigmoid",
}


def with_packed_layers(dense: GraphModule) -> GraphModule:
    """`dense`, changed in place: its float32 layers of constant weights through oneDNN where that is worth it, with the
    activation behind them. Outputs differ in rounding only.
    """
    if not packs("float32"):
        return dense
    for at, node in enumerate([node for node in dense.graph.nodes if node.target is _LINEAR]):
        weight, bias = (_constant(dense, node, place) for place in (1, 2))
        if weight is None or (bias is None and len(node.args) > 2 and node.args[2] is not None):
            continue
        behind = next(iter(node.users)) if len(node.users) == 1 else node
        activation = _ACTIVATIONS.get(behind.target, "none")
        last = node if activation == "none" else behind
        name = f"packed_{at}"
        dense.add_submodule(name, PackedLayer(weight, bias, activation))
        with dense.graph.inserting_after(last):
            made = dense.graph.call_module(name, (node.args[0],))
        made.meta = dict(last.meta)
        last.replace_all_uses_with(made)
        for gone in dict.fromkeys((last, node)):
            dense.graph.erase_node(gone)
    dense.graph.eliminate_dead_code()
    dense.recompile()
    return dense


class PackedLayer(nn.Module):
    """x -> activation(W x + b) for x [B, I] float32; anything else, and small batches, as torch does it."""

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: DecoderActivation) -> None:
        super().__init__()
        self._weight, self._bias, self._activation = weight, bias, activation
        self._worth = -(-WORTH_FLOPS // (2 * weight.numel()))
        shift = torch.zeros(len(weight)) if bias is None else bias
        self._packed = Packed((weight.numpy(), shift.numpy(), activation), "float32", USUAL_ROWS)

    def forward(self, x: Tensor) -> Tensor:
        """[B, O]."""
        batch = len(x)
        if x.dim() != 2 or batch < self._worth:
            x = nn.functional.linear(x, self._weight, self._bias)
            return x.relu_() if self._activation == "relu" else x.sigmoid_() if self._activation == "sigmoid" else x
        rows = rounded(batch)
        x = x.contiguous() if rows == batch else nn.functional.pad(x, (0, 0, 0, rows - batch))
        found: Tensor = self._packed(x)
        return found if rows == batch else found[:batch]


def _constant(dense: GraphModule, node: Node, place: int) -> Tensor | None:
    """The argument when it is a float32 attribute of the module."""
    if place >= len(node.args):
        return None
    found = node.args[place]
    if not isinstance(found, Node) or found.op != "get_attr":
        return None
    value: Any = dense
    for part in str(found.target).split("."):
        value = getattr(value, part)
    return value.detach() if isinstance(value, Tensor) and value.dtype == torch.float32 else None
