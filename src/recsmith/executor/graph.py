"""Runs a model's exported dense part.

B samples, W columns of the look-up's output.
"""

from __future__ import annotations

import io
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Batch, FormatError, Graph, GraphInput, InputError, Jagged, Looked, Model, Weights

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule


def load_graph(model: Model, weights: Weights) -> ExportedDense:
    """The exported dense part of `model`.

    Raises:
        FormatError: the file is missing or is not an exported program.
    """
    import torch

    graph = model.graph
    if graph is None or graph.file not in weights.files:
        named = "no exported dense part" if graph is None else f"'{graph.file}', which is missing"
        raise FormatError("load", f"model '{model.name}' refers to {named}", "Import it again.")
    content = weights.files[graph.file]
    try:
        program = torch.export.load(io.BytesIO(content) if isinstance(content, bytes) else str(content))
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise FormatError(
            "load", f"'{graph.file}' is not an exported program, or is damaged: {first}", "Import the model again."
        ) from error
    # Guards would only say in torch's words what the checks below say in ours.
    part = program.module(check_guards=False)
    part.graph.set_codegen(torch.fx.graph.CodeGen())
    part.recompile()
    return ExportedDense(model, graph, part)


class ExportedDense:
    """Runs an exported dense part in inference mode; safe from several threads."""

    def __init__(self, model: Model, graph: Graph, part: GraphModule) -> None:
        self._model = model
        self._graph = graph
        self._part = part

    def room(self, batch: int) -> None:
        """None: the look-up chooses where to write."""

    def finish(self, batch: Batch, looked: Looked) -> NDArray[np.float32]:
        """The model's output [B] or [B, n].

        Raises:
            InputError: dense inputs are missing or misshapen, or bags are not of the lengths the module wants.
        """
        import torch

        size = batch.sparse.batch
        with torch.inference_mode():
            # Not every operator takes zero samples (a view with a free axis does not), so two of zeros go in.
            tensors = (
                [_tensor(self._model, each, batch, looked) for each in self._graph.inputs]
                if size
                else _zeros(self._model, self._graph)
            )
            (output,) = self._part(*tensors)
            values: NDArray[np.float32] = output[:size].numpy()
        return values


def _tensor(model: Model, wanted: GraphInput, batch: Batch, looked: Looked) -> Tensor:
    size = batch.sparse.batch
    if wanted.kind == "pooled":
        return _share(looked.pooled)
    if wanted.kind == "dense":
        if batch.dense is None or batch.dense.shape != (size, model.dense_inputs):
            shape = None if batch.dense is None else list(batch.dense.shape)
            raise InputError(
                "predict", f"the dense inputs are {shape}, wanted [{size}, {model.dense_inputs}]", "Check the input."
            )
        return _share(batch.dense[:, wanted.start : wanted.stop]).reshape(size, *wanted.shape)
    start, stop = _bags(model, wanted, batch.sparse)
    if wanted.kind == "ids":
        ids = batch.sparse.values[start:stop].astype(np.int64, copy=False)
        return _share(ids).reshape(size, *wanted.shape)
    return _share(looked.sequences[wanted.feature]).reshape(size, *wanted.shape, _dim(model, wanted))


def _bags(model: Model, wanted: GraphInput, ids: Jagged) -> tuple[int, int]:
    """Where the feature's ids lie; all its bags must be of one length, and of the module's where that is fixed."""
    at = [feature.name for feature in model.features].index(wanted.feature) * ids.batch
    if ids.offsets is None:
        start, stop, regular = at, at + ids.batch, True
    else:
        offsets = ids.offsets[at : at + ids.batch + 1]
        start, stop = int(offsets[0]), int(offsets[-1])
        regular = bool((np.diff(offsets) * ids.batch == stop - start).all())
    length, fixed = (stop - start) // ids.batch, abs(prod(wanted.shape))
    if not regular or (length % fixed if -1 in wanted.shape else length != fixed):
        asked = f"a multiple of {fixed}" if -1 in wanted.shape else str(fixed)
        raise InputError(
            "predict",
            f"the bags of feature '{wanted.feature}' must all have one length ({asked} ids)",
            "Pad or cut them, as was done for training.",
        )
    return start, stop


def _zeros(model: Model, graph: Graph) -> list[Tensor]:
    import torch

    found = []
    for wanted in graph.inputs:
        shape = [2, *(1 if n < 0 else n for n in wanted.shape)]
        if wanted.kind == "sequence":
            shape.append(_dim(model, wanted))
        found.append(torch.zeros(shape, dtype=torch.int64 if wanted.kind == "ids" else torch.float32))
    return found


def _dim(model: Model, wanted: GraphInput) -> int:
    return next(model.table_of(feature).dim for feature in model.features if feature.name == wanted.feature)


def _share(array: NDArray[Any]) -> Tensor:
    import torch

    # torch warns of arrays that it may not write to, though nothing here writes.
    return torch.from_numpy(array if array.flags.writeable else array.copy())
