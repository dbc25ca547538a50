"""DLRM in plain PyTorch, with the parameter names of facebookresearch/dlrm: the original that we must equal."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from recsmith.importers.recognise import recognise
from recsmith.spec import (
    Batch,
    CheckpointError,
    Feature,
    Interaction,
    Jagged,
    Mlp,
    Model,
    Pooling,
    RecsmithError,
    Table,
)

_ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "none": nn.Identity}


def tiny(rows: Sequence[int]) -> Model:
    """A DLRM of 8 columns with one table for each number of rows, 4 dense inputs and one layer a side."""
    tables = tuple(Table(f"t{i}", count, 8) for i, count in enumerate(rows))
    vectors = 1 + len(rows)
    return Model(
        "tiny",
        tables,
        tuple(Feature(table.name, table.name) for table in tables),
        dense_inputs=4,
        bottom=Mlp((4, 8), ("relu",), "bottom"),
        interaction=Interaction("dot"),
        top=Mlp((8 + vectors * (vectors - 1) // 2, 1), ("sigmoid",), "top"),
    )


class TorchDlrm(nn.Module):
    """The published forward pass: bottom MLP, one `nn.EmbeddingBag` a feature, interaction, top MLP.

    Args:
        model: gives tables, widths, pooling and interaction; all tables are float32 here.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        if model.interaction is None or model.top is None:
            raise RecsmithError("verify", f"model '{model.name}' is not a DLRM", "Give the module it came from.")
        self.interaction: Interaction = model.interaction
        self.emb_l = nn.ModuleList(
            nn.EmbeddingBag(table.rows, table.dim, mode=_mode(feature.pooling), include_last_offset=True)
            for feature in model.features
            for table in [model.table_of(feature)]
        )
        self.bot_l = _stack(model.bottom) if model.bottom else None
        self.top_l = _stack(model.top)

    def forward(self, dense: Tensor | None, ids: Sequence[Tensor], offsets: Sequence[Tensor]) -> Tensor:
        """The click probability [B, 1] of dense inputs [B, D] and, per feature, ids and offsets [B + 1]."""
        vectors = [bag(i, o) for bag, i, o in zip(self.emb_l, ids, offsets, strict=True)]
        if self.bot_l is not None and dense is not None:
            vectors = [self.bot_l(dense), *vectors]
        return self.top_l(self._interact(vectors))

    def predict(self, batch: Batch) -> Tensor:
        """The same for one of our batches, [B]."""
        ids, offsets = split(batch.sparse, len(self.emb_l))
        dense = None if batch.dense is None else torch.from_numpy(batch.dense)
        with torch.inference_mode():
            return self(dense, ids, offsets)[:, 0]

    def _interact(self, vectors: list[Tensor]) -> Tensor:
        if self.interaction.kind == "cat":
            return torch.cat(vectors, dim=1)
        x = torch.stack(vectors, dim=1)
        products = torch.bmm(x, x.transpose(1, 2))
        below = 0 if self.interaction.self_terms else -1
        i, j = torch.tril_indices(x.shape[1], x.shape[1], offset=below)
        return torch.cat([vectors[0], products[:, i, j]], dim=1)


def split(ids: Jagged, features: int) -> tuple[list[Tensor], list[Tensor]]:
    """Per feature: its ids and its offsets [B + 1], starting at zero."""
    values = torch.from_numpy(ids.values)
    if ids.offsets is None:
        steps = torch.arange(ids.batch + 1, dtype=values.dtype)
        return list(values.reshape(features, ids.batch)), [steps] * features
    offsets = torch.from_numpy(ids.offsets).to(values.dtype)
    found_ids, found_offsets = [], []
    for feature in range(features):
        own = offsets[feature * ids.batch : (feature + 1) * ids.batch + 1]
        found_ids.append(values[own[0] : own[-1]])
        found_offsets.append(own - own[0])
    return found_ids, found_offsets


def load_torch_dlrm(model: Model, state: Mapping[str, Tensor]) -> TorchDlrm:
    """`TorchDlrm` of `model`'s shape with the parameters of a `DLRM_Net` state dict.

    Raises:
        CheckpointError: they are another model's.
    """
    module = TorchDlrm(model)
    try:
        module.load_state_dict({name: value for name, value in state.items() if not name.endswith("loss_ws")})
    except RuntimeError as error:
        first = shorten(str(error).partition("\n\t")[2].splitlines()[0], 120, placeholder=" ...")
        raise CheckpointError(
            "verify", f"the checkpoint is not what model '{model.name}' was imported from: {first}", "Give that one."
        ) from error
    return module.eval()


def _mode(pooling: Pooling) -> str:
    return "sum" if pooling == "none" else pooling


def _stack(part: Mlp) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, activation in enumerate(part.activations):
        layers += [nn.Linear(part.widths[i], part.widths[i + 1]), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint, bare or under "state_dict", or of safetensors, without a `module.` prefix.

    Raises:
        CheckpointError: the file is no checkpoint, or is damaged.
    """
    stored = _opened(Path(path))
    state = stored.get("state_dict", stored)
    return {name.removeprefix("module."): value for name, value in state.items() if isinstance(value, Tensor)}


def _opened(path: Path) -> Any:
    kind = recognise(path)
    if kind == "artifact":
        raise CheckpointError("verify", f"'{path}' is an artifact", "Give the checkpoint that it was imported from.")
    try:
        if kind == "safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        problem = f"cannot read '{path}': {error}".splitlines()[0]
        raise CheckpointError("verify", problem, "Copy or save the checkpoint again.") from error
