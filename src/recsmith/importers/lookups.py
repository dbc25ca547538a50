"""The embedding calls of a captured graph: what they read, how they pool, and whether we can take them over."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from operator import getitem
from typing import TYPE_CHECKING, Any, Literal

from recsmith.spec import CheckpointError, Feature, Table
from recsmith.spec.model import Pooling

from .capture import Capture, fixed_size, line_of

if TYPE_CHECKING:
    import torch
    from torch.fx import Node

Form = Literal["bags", "fixed", "rows"]
_MODES: dict[int, Pooling] = {0: "sum", 1: "mean"}


@dataclass(frozen=True, slots=True)
class Lookup:
    """One embedding call.

    Attributes:
        result: the node whose value is the vectors.
        call: the node of the embedding operator, for messages.
        feature: name and pooling, as the model will have it.
        form: `bags`: ids [L] with offsets; `fixed`: ids [B] or [B, T], T ids a bag, pooled; `rows`: ids of any
            shape, one vector each.
        ends: offsets carry the end of the last bag (`include_last_offset`).
    """

    result: Node
    call: Node
    feature: Feature
    form: Form
    ids: Node
    offsets: Node | None = None
    weights: Node | None = None
    ends: bool = False


def find_lookups(captured: Capture) -> tuple[tuple[Table, ...], dict[str, torch.Tensor], tuple[Lookup, ...]]:
    """All embedding calls in graph order: the tables they read, their parameters by table name, the calls.

    Parameters that are the same tensor are one table.

    Raises:
        CheckpointError: a call cannot be taken over; names the line that makes it.
    """
    calls = [node for node in captured.graph.graph.nodes if _is_embedding(node, captured)]
    if not calls:
        raise CheckpointError(
            "capture",
            "the forward calls no nn.EmbeddingBag and no nn.Embedding",
            "There is nothing to look up; run the module as it is.",
        )
    batch = _batch(calls)
    names: dict[tuple[int, tuple[int, ...]], str] = {}
    tables: dict[str, Table] = {}
    parameters: dict[str, torch.Tensor] = {}
    used: Counter[str] = Counter()
    found = []
    for call in calls:
        target, parameter = _parameter(captured, call)
        name = names.setdefault((parameter.data_ptr(), tuple(parameter.shape)), target.removesuffix(".weight"))
        tables.setdefault(name, _table(name, parameter, call))
        parameters.setdefault(name, parameter)
        used[name] += 1
        feature = name if used[name] == 1 else f"{name}:{used[name]}"
        found.append(_read(call, Feature(feature, name), batch))
    _check_order(captured, found)
    return tuple(tables.values()), parameters, tuple(found)


def _is_embedding(node: Node, captured: Capture) -> bool:
    import torch

    aten = torch.ops.aten
    if node.op == "get_attr":
        _refuse_nested(node, captured)
        return False
    if node.target in (aten.embedding.default, aten.embedding_bag.default, aten.embedding_bag.padding_idx):
        return True
    if node.op == "call_function" and "embedding" in str(node.target):
        reason = "max_norm rewrites rows as they are read" if "renorm" in str(node.target) else "it is not supported"
        raise _refusal(node, f"'{node.target}' is called: {reason}", "Use plain nn.EmbeddingBag or nn.Embedding.")
    return False


def _refuse_nested(node: Node, captured: Capture) -> None:
    import torch

    held = _attribute(captured.graph, str(node.target))
    if isinstance(held, torch.fx.GraphModule) and any("embedding" in str(n.target) for n in held.graph.nodes):
        user = next(iter(node.users), node)
        raise _refusal(user, "a table is read inside control flow", "Look up outside of it and select afterwards.")


def _parameter(captured: Capture, call: Node) -> tuple[str, torch.Tensor]:
    weight = call.args[0]
    target = str(getattr(weight, "target", weight))
    if getattr(weight, "op", "") != "get_attr":
        raise _refusal(
            call,
            f"the table is computed in the forward (by {target})",
            "Compute it once, before, and keep it as a parameter.",
        )
    tensor = _attribute(captured.graph, target).detach()
    return captured.names.get(tensor.data_ptr(), target), tensor


def _attribute(root: Any, path: str) -> Any:
    for part in path.split("."):
        root = getattr(root, part)
    return root


def _table(name: str, parameter: torch.Tensor, call: Node) -> Table:
    import torch

    if parameter.dtype != torch.float32 or parameter.dim() != 2 or 0 in parameter.shape:
        raise _refusal(
            call,
            f"table '{name}' is {parameter.dtype} {list(parameter.shape)}; wanted rows x dim of float32",
            "Convert the module with module.float().",
        )
    return Table(name, parameter.shape[0], parameter.shape[1])


def _read(call: Node, feature: Feature, batch: object) -> Lookup:
    import torch

    if call.target == torch.ops.aten.embedding.default:
        return _read_rows(call, feature, batch)
    names = ("weight", "ids", "offsets", "scale", "mode", "sparse", "weights", "ends", "padding")
    given = dict(zip(names, call.args, strict=False)) | call.kwargs
    mode = given.get("mode", 0)
    if mode not in _MODES:
        raise _refusal(call, "the bags are pooled by maximum", "Supported: sum and mean.")
    for user in call.users:
        if user.target is not getitem or user.args[1] != 0:
            raise _refusal(call, "more than the pooled vectors of embedding_bag is used", "Use the vectors only.")
    result = next(iter(call.users), call)
    padding = given.get("padding")
    weights: Any = given.get("weights")
    described = Feature(
        feature.name,
        feature.table,
        _MODES[mode],
        weighted=weights is not None,
        padding_id=None if padding is None or padding < 0 else padding,
    )
    ids, offsets = given["ids"], given["offsets"]
    matrix = _fixed_bags(ids, offsets) if weights is None else None
    if matrix is not None:
        return Lookup(result, call, described, "fixed", matrix)
    return Lookup(result, call, described, "bags", ids, offsets, weights, bool(given.get("ends", False)))


def _fixed_bags(ids: Node, offsets: Node) -> Node | None:
    """The matrix [B, T] behind a two-dimensional embedding_bag call, which torch flattens and gives offsets."""
    import torch

    aten = torch.ops.aten
    flattened = ids.target in (aten.view.default, aten.reshape.default) and list(ids.args[1]) == [-1]
    if not flattened or offsets.target != aten.arange.start_step or offsets.args[0] != 0:
        return None
    matrix: Any = ids.args[0]
    shape = matrix.meta["val"].shape
    stop, step = (getattr(arg, "meta", {}).get("val", arg) for arg in offsets.args[1:3])
    regular = len(shape) == 2 and str(step) == str(shape[1]) and str(stop) in _products(shape)
    return matrix if regular else None


def _products(shape: Any) -> set[str]:
    return {str(shape[0] * shape[1]), str(shape[1] * shape[0])}


def _read_rows(call: Node, feature: Feature, batch: object) -> Lookup:
    """nn.Embedding, with a sum or mean over the sequence taken in where that is all that happens to it."""
    import torch

    ids: Any = call.args[1]
    shape = ids.meta["val"].shape
    if not shape or str(shape[0]) != str(batch):
        return Lookup(call, call, Feature(feature.name, feature.table, "none"), "rows", ids)
    if len(shape) == 1:
        return Lookup(call, call, feature, "fixed", ids)
    if len(shape) == 2 and len(call.users) == 1:
        (user,) = call.users
        poolings: dict[Any, Pooling] = {
            torch.ops.aten.sum.dim_IntList: "sum",
            torch.ops.aten.mean.dim: "mean",
        }
        plain = len(user.args) == 2 and not user.kwargs and user.args[1] in ([1], [-2])
        if user.target in poolings and plain:
            return Lookup(user, call, Feature(feature.name, feature.table, poolings[user.target]), "fixed", ids)
    return Lookup(call, call, Feature(feature.name, feature.table, "none"), "rows", ids)


def _batch(calls: list[Node]) -> object:
    """The batch size as the graph writes it: what most calls yield a row for."""
    sizes: list[str] = []
    kept: dict[str, object] = {}
    for call in calls:
        value = call.meta["val"]
        shape = (value[0] if isinstance(value, tuple | list) else value).shape
        if len(shape) > 1:
            sizes.append(str(shape[0]))
            kept.setdefault(str(shape[0]), shape[0])
    if not sizes:
        return None
    size = kept[Counter(sizes).most_common(1)[0][0]]
    if fixed_size(size) is not None:
        raise _refusal(
            calls[0],
            f"the forward only works for batches of {size}, the sample's size",
            "Take the batch size from the inputs' shapes.",
        )
    return size


def _check_order(captured: Capture, lookups: list[Lookup]) -> None:
    """One look-up serves all calls, so none may need what another one yields."""
    after: set[Node] = set()
    results = {lookup.call for lookup in lookups}
    for node in captured.graph.graph.nodes:
        if node in results or any(source in after for source in node.all_input_nodes):
            after.add(node)
    for lookup in lookups:
        for source in (lookup.ids, lookup.offsets, lookup.weights):
            if source is not None and source in after:
                raise _refusal(
                    lookup.call,
                    f"the ids or weights of '{lookup.feature.name}' depend on another look-up",
                    "All ids must be known before the first look-up.",
                )


def _refusal(node: Node, problem: str, remedy: str) -> CheckpointError:
    return CheckpointError("capture", f"{problem}, at {line_of(node)}", remedy)
