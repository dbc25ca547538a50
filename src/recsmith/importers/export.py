"""The dense part of a captured module as an exported program that a prediction can feed.

Inputs are brought to the forms that `spec.GraphInput` names: columns of one dense matrix, the look-up's output,
and vectors or ids of a sequence.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from recsmith.spec import CheckpointError, GraphInput

from .capture import Capture, dynamic_export, fixed_size, line_of
from .lookups import Lookup
from .split import Columns, dense_part

if TYPE_CHECKING:
    import torch
    from torch.fx import GraphModule, Node

_VIEWS = ("view", "reshape", "select", "slice", "squeeze", "unsqueeze", "_to_copy", "clone", "expand", "unbind")


@dataclass(frozen=True, slots=True)
class Exported:
    """An exported dense part.

    Attributes:
        program: bytes as torch.export.save writes them.
        inputs: what it takes, in order.
        dense_inputs: columns of the dense matrix.
    """

    program: bytes
    inputs: tuple[GraphInput, ...]
    dense_inputs: int


def check_plain_ids(lookups: Sequence[Lookup]) -> None:
    """Return when every look-up's ids are taken from the inputs as they are (selected and reshaped at most).

    Raises:
        CheckpointError: they are computed, so that a prediction from raw ids would need that computation.
    """
    for lookup in lookups:
        for source in (lookup.ids, lookup.weights):
            node: Any = source
            while node is not None and node.op != "placeholder":
                if node.op != "call_function" or not _is_view(node):
                    raise CheckpointError(
                        "import",
                        f"the ids of '{lookup.feature.name}' are computed by {node.target}, at {line_of(node)}",
                        "Move that step out of the module (ids are data), or use recsmith.optimize, which keeps it.",
                    )
                node = node.args[0]
            if source is lookup.ids and node is not None and _is_float(node):
                raise CheckpointError(
                    "import",
                    f"the ids of '{lookup.feature.name}' are columns of the float input '{node.name}', at "
                    f"{line_of(lookup.call)}",
                    "Give the module an integer input of its own for them, or use recsmith.optimize.",
                )


def export_dense(captured: Capture, lookups: Sequence[Lookup], columns: Columns) -> Exported:
    """Export what follows the look-ups, and compare it with the original on the sample.

    Raises:
        CheckpointError: it needs inputs that a prediction does not have, or yields something else than one
            tensor with a row for each sample.
    """
    import torch

    values = _record(captured, lookups)
    output = _single_output(captured, values)
    part = dense_part(captured, lookups, columns)
    _replace_sizes(part, lookups)
    inputs, arguments = _inputs(part, captured, lookups, columns, values)
    part.recompile()
    shapes = tuple(
        dict.fromkeys([0, *(at for at, n in enumerate(described.shape, 1) if n < 0)], torch.export.Dim.AUTO)
        for described in inputs
    )
    with dynamic_export(), torch.no_grad():
        program = torch.export.export(part, arguments, dynamic_shapes=shapes, strict=False)
        found = program.module()(*arguments)[0]
    largest = float(output.abs().max()) if output.numel() else 0.0
    if not torch.allclose(found, output, rtol=0, atol=1e-5 * largest + 1e-30, equal_nan=True):
        raise CheckpointError(
            "import", "the exported dense part differs from the module on the sample", "Does it draw random numbers?"
        )
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    dense_inputs = max((described.stop for described in inputs), default=0)
    return Exported(buffer.getvalue(), inputs, dense_inputs)


def _is_view(node: Node) -> bool:
    return str(node.target).removeprefix("aten.").partition(".")[0] in _VIEWS


def _record(captured: Capture, lookups: Sequence[Lookup]) -> dict[Node, torch.Tensor]:
    """The sample's value of every look-up's result, input and output."""
    import torch

    wanted = {lookup.result for lookup in lookups}
    values: dict[Node, torch.Tensor] = {}

    class Recorder(torch.fx.Interpreter):
        def run_node(self, n: Node) -> Any:
            value = super().run_node(n)
            if n in wanted or n.op == "placeholder":
                values[n] = value
            elif n.op == "output":
                flat = value if isinstance(value, tuple | list) else (value,)
                values.update({n: flat[0]} if len(flat) == 1 else {})
            return value

    with torch.no_grad():
        Recorder(captured.graph).run(*captured.example)
    return values


def _single_output(captured: Capture, values: dict[Node, torch.Tensor]) -> torch.Tensor:
    import torch

    output = values.get(captured.graph.graph.output_node())
    if not isinstance(output, torch.Tensor) or output.dim() not in (1, 2):
        raise CheckpointError(
            "import",
            "the forward does not return one tensor of [B] or [B, n]",
            "Wrap the module in one whose forward returns the prediction.",
        )
    return output


def _replace_sizes(part: GraphModule, lookups: Sequence[Lookup]) -> None:
    """Sizes that the forward reads off ids and offsets are read off inputs that a prediction has."""
    import torch

    size = torch.ops.aten.sym_size.int
    known: dict[str, tuple[Node, int]] = {}
    rows = iter([lookup for lookup in lookups if lookup.form == "rows"])
    pooled_shape = next((lookup.result.meta["val"].shape for lookup in lookups if lookup.form != "rows"), None)
    for node in part.graph.find_nodes(op="placeholder"):
        if node.name.startswith("looked_rows"):
            shape = next(rows).result.meta["val"].shape
        elif node.name == "looked_pooled":
            shape = pooled_shape[:1] if pooled_shape is not None else ()
        elif _is_float(node):
            shape = node.meta["val"].shape
        else:
            continue
        for at, n in enumerate(shape):
            known.setdefault(str(n), (node, at))
    for node in part.graph.find_nodes(op="call_function", target=size):
        source: Any = node.args[0]
        value = str(node.meta.get("val"))
        if source.op == "placeholder" and not _is_float(source) and value in known:
            node.args = known[value]


def _is_float(node: Node) -> bool:
    value = node.meta.get("val")
    return value is not None and hasattr(value, "dtype") and value.dtype.is_floating_point


def _inputs(
    part: GraphModule,
    captured: Capture,
    lookups: Sequence[Lookup],
    columns: Columns,
    values: dict[Node, torch.Tensor],
) -> tuple[tuple[GraphInput, ...], tuple[torch.Tensor, ...]]:
    """What each placeholder that is used takes, and its sample; the others are removed."""
    import torch

    originals = {node.name: node for node in captured.graph.graph.find_nodes(op="placeholder")}
    rows = iter([lookup for lookup in lookups if lookup.form == "rows"])
    found: list[GraphInput] = []
    arguments: list[torch.Tensor] = []
    column = 0
    for node in part.graph.find_nodes(op="placeholder"):
        sequence = next(rows) if node.name.startswith("looked_rows") else None
        if not node.users:
            part.graph.erase_node(node)
            continue
        if node.name == "looked_pooled":
            described = GraphInput("pooled", shape=(columns.width,))
            value = torch.cat([values[lookup.result] for lookup in lookups if lookup.form != "rows"], dim=1)
        elif sequence is not None:
            described = GraphInput("sequence", sequence.feature.name, shape=_sequence_shape(sequence))
            value = values[sequence.result]
        elif _is_float(node):
            described = _dense_input(node, column)
            column = described.stop
            value = values[originals[node.name]]
        else:
            described = _ids_input(node, lookups, originals[node.name])
            value = values[originals[node.name]]
        found.append(described)
        arguments.append(value)
    return tuple(found), tuple(arguments)


def _dense_input(node: Node, column: int) -> GraphInput:
    shape = node.meta["val"].shape
    inner = tuple(fixed_size(n) for n in shape[1:])
    widths = tuple(n for n in inner if n is not None)
    if not shape or fixed_size(shape[0]) is not None or len(widths) < len(inner):
        raise CheckpointError(
            "import",
            f"input '{node.name}' is {list(shape)}; a dense input has a row of fixed width for each sample",
            "Reshape it in the module.",
        )
    return GraphInput("dense", start=column, stop=column + prod(widths), shape=widths)


def _sequence_shape(lookup: Lookup) -> tuple[int, ...]:
    shape = lookup.ids.meta["val"].shape
    inner = tuple(-1 if (width := fixed_size(n)) is None else width for n in shape[1:])
    if not shape or fixed_size(shape[0]) is not None or inner.count(-1) > 1:
        raise CheckpointError(
            "import",
            f"the ids of '{lookup.feature.name}' are {list(shape)}, at {line_of(lookup.call)}; wanted [B, ...] with at "
            "most one free length",
            "Use recsmith.optimize, which takes any shape.",
        )
    return inner


def _ids_input(node: Node, lookups: Sequence[Lookup], original: Node) -> GraphInput:
    for lookup in lookups:
        if lookup.ids is original and lookup.form != "bags":
            return GraphInput("ids", lookup.feature.name, shape=_sequence_shape(lookup))
    user = next(iter(node.users))
    raise CheckpointError(
        "import",
        f"input '{node.name}' is used besides the look-up, at {line_of(user)}",
        "Only ids of shape [B] or [B, T] can be; pass what the module needs as a dense input.",
    )
