"""A captured graph cut in two at its look-ups: what yields the ids, and what uses the vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .capture import Capture, fixed_size
from .lookups import Lookup

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule, Node

_END = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Columns:
    """Where each pooled look-up's vectors lie in the look-up's output [B, width]."""

    start: dict[Node, int]
    stop: dict[Node, int]
    width: int

    @classmethod
    def of(cls, lookups: Sequence[Lookup], dims: dict[str, int]) -> Columns:
        """Side by side in the order of `lookups`; `dims` by table."""
        start, stop, column = {}, {}, 0
        for lookup in lookups:
            if lookup.form != "rows":
                start[lookup.result] = column
                column += dims[lookup.feature.table]
                stop[lookup.result] = column
        return cls(start, stop, column)


def ids_part(captured: Capture, lookups: Sequence[Lookup]) -> GraphModule:
    """All inputs to (ids, offsets, weights) of each look-up in turn, leaving out what it does not have."""
    wanted = [source for lookup in lookups for source in (lookup.ids, lookup.offsets, lookup.weights) if source]
    copier = _Copier(captured)
    copier.inputs()
    copier.rest(wanted)
    return copier.finish(tuple(copier.copies[source] for source in wanted))


def dense_part(captured: Capture, lookups: Sequence[Lookup], columns: Columns) -> GraphModule:
    """All inputs, the look-up's output [B, width], then each `rows` look-up's vectors, to the flat outputs.

    Vectors that are concatenated in the order in which they lie side by side are taken as one slice.
    """
    output = captured.graph.graph.output_node()
    copier = _Copier(captured)
    copier.inputs()
    copier.pooled(lookups, columns)
    copier.rows(lookups)
    results = output.args[0]
    copier.rest(output.all_input_nodes)
    flat = results if isinstance(results, tuple | list) else (results,)
    return copier.finish(tuple(copier.of(each) for each in flat))


class _Copier:
    """Copies the nodes that some results need into a new graph."""

    def __init__(self, captured: Capture) -> None:
        from torch.fx import Graph

        self._captured = captured
        self._graph: Graph = Graph()
        self.copies: dict[Node, Node] = {}
        self._columns: Columns | None = None
        self._pooled: Node | None = None

    def inputs(self) -> None:
        """A placeholder for every input, used or not, so that callers pass what they were given."""
        for node in self._captured.graph.graph.nodes:
            if node.op == "placeholder":
                self.copies[node] = self._graph.placeholder(node.name)
                self.copies[node].meta = dict(node.meta)

    def pooled(self, lookups: Sequence[Lookup], columns: Columns) -> None:
        """The look-up's output takes the place of the pooled look-ups."""
        self._columns = columns
        if any(lookup.form != "rows" for lookup in lookups):
            self._pooled = self._graph.placeholder("looked_pooled")

    def rows(self, lookups: Sequence[Lookup]) -> None:
        """Vectors without pooling take the place of their look-ups."""
        for at, lookup in enumerate(lookups):
            if lookup.form == "rows":
                self.copies[lookup.result] = self._graph.placeholder(f"looked_rows_{at}")

    def rest(self, wanted: Sequence[Node]) -> None:
        """Whatever `wanted` still needs, in the captured order."""
        needed, stack = set(), list(wanted)
        while stack:
            node = stack.pop()
            if node not in needed and node not in self.copies and not self._is_column(node):
                needed.add(node)
                stack += node.all_input_nodes
        for node in self._captured.graph.graph.nodes:
            if node in needed:
                self.copies[node] = self._copy(node)
        for node in wanted:
            self.copies[node] = self.of(node)

    def of(self, value: Any) -> Any:
        """The copy of a node; anything else as it is."""
        from torch.fx import Node

        if isinstance(value, Node) and self._is_column(value) and value not in self.copies:
            assert self._columns is not None
            self.copies[value] = self._slice(self._columns.start[value], self._columns.stop[value])
        return self.copies.get(value, value) if isinstance(value, Node) else value

    def finish(self, results: tuple[Any, ...]) -> GraphModule:
        """The new graph as a module; it holds only the parameters that it uses."""
        from torch.fx import GraphModule

        self._graph.output(results)
        return GraphModule(self._captured.graph, self._graph)

    def _is_column(self, node: Node) -> bool:
        return self._columns is not None and node in self._columns.start

    def _copy(self, node: Node) -> Node:
        import torch

        aten = torch.ops.aten
        if node.target in _joiners() and self._columns is not None:
            return self._joined(node)
        if _is_copy(node):
            # Nothing in the graph writes in place, so a copy is as good as the original.
            return self.of(node.args[0])
        if node.target == aten.index.Tensor and (pairs := self._constant_pairs(node)) is not None:
            return self._picked(node, pairs)
        copy = self._graph.node_copy(node, self.of)
        copy.meta = dict(node.meta)
        return copy

    def _joined(self, node: Node) -> Node:
        """A concatenation or stack along the columns, runs of neighbouring look-ups taken as one slice."""
        import torch

        parts: Any = node.args[0]
        dim = node.args[1] if len(node.args) > 1 else 0
        flat = all(len(part.meta["val"].shape) == 2 for part in parts if not self._is_column(part))
        stacked = node.target == torch.ops.aten.stack.default
        if (dim != 1 and (stacked or dim != -1)) or not flat:
            return self._graph.node_copy(node, self.of)
        merged: list[Any] = []
        for first, last in self._runs(parts):
            if isinstance(first, int):
                merged.append(self._slice(first, last))
            else:
                merged.append(self.of(first))
        joined = merged[0] if len(merged) == 1 else self._call(torch.ops.aten.cat.default, (merged, 1))
        if not stacked:
            return joined
        width = parts[0].meta["val"].shape[1]
        return self._call(torch.ops.aten.unflatten.int, (joined, 1, [len(parts), width]))

    def _constant_pairs(self, node: Node) -> Tensor | None:
        """Positions in each sample's matrix, flattened, when `node` picks x[:, i, j] by constant i and j."""
        import torch

        x, indices = node.args[:2]
        if not isinstance(indices, list) or len(indices) != 3 or indices[0] is not None or None in indices[1:]:
            return None
        shape = x.meta["val"].shape
        rows, columns = (_constant(each, self._captured) for each in indices[1:])
        width = fixed_size(shape[2]) if len(shape) == 3 else None
        height = fixed_size(shape[1]) if len(shape) == 3 else None
        if rows is None or columns is None or width is None or height is None:
            return None
        plain = rows.dtype == columns.dtype == torch.int64 and rows.dim() == 1 and rows.shape == columns.shape
        if not plain or not len(rows) or min(rows.min(), columns.min()) < 0:
            return None
        return rows * width + columns if rows.max() < height and columns.max() < width else None

    def _picked(self, node: Node, pairs: Tensor) -> Node:
        """The same by index_select, which torch runs several times faster than indexing by two tensors."""
        import torch

        name = f"pairs_of_{node.name}"
        self._captured.graph.register_buffer(name, pairs)
        flat = self._call(torch.ops.aten.flatten.using_ints, (self.of(node.args[0]), 1, 2))
        return self._call(torch.ops.aten.index_select.default, (flat, 1, self._graph.get_attr(name)))

    def _runs(self, parts: Sequence[Node]) -> list[tuple[Any, Any]]:
        """(start, stop) columns for each run of neighbouring look-ups, (node, None) for anything else."""
        assert self._columns is not None
        runs: list[tuple[Any, Any]] = []
        for part in parts:
            if not self._is_column(part):
                runs.append((part, None))
            elif runs and runs[-1][1] == self._columns.start[part]:
                runs[-1] = (runs[-1][0], self._columns.stop[part])
            else:
                runs.append((self._columns.start[part], self._columns.stop[part]))
        return runs

    def _slice(self, start: int, stop: int) -> Node:
        import torch

        assert self._columns is not None and self._pooled is not None
        if (start, stop) == (0, self._columns.width):
            return self._pooled
        return self._call(torch.ops.aten.slice.Tensor, (self._pooled, 1, start, stop))

    def _call(self, target: Callable[..., Any], args: tuple[Any, ...]) -> Node:
        return self._graph.call_function(target, args)


def _is_copy(node: Node) -> bool:
    import torch

    aten = torch.ops.aten
    copies = (aten.clone.default, aten.alias.default, aten.lift_fresh_copy.default, aten.detach.default)
    return node.target in copies or (node.target == aten.slice.Tensor and node.args[2:] == (0, _END))


def _constant(node: Any, captured: Capture) -> Tensor | None:
    """The value of a tensor that was written out in the forward."""
    while node.op == "call_function" and _is_copy(node):
        node = node.args[0]
    found = getattr(captured.graph, str(node.target), None) if node.op == "get_attr" else None
    return found if str(node.target).startswith("lifted_tensor") else None


def _joiners() -> tuple[Any, ...]:
    import torch

    return (torch.ops.aten.cat.default, torch.ops.aten.stack.default)
