"""A DLRM of ours as a torch module, to be trained. Legend: B samples, D dense inputs, E dim, F vectors, P pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsmith.spec import Batch, Dhe, Mlp, Model, RecsmithError, Weights

from . import products
from .layers import layer

_KEEP_CODES_BYTES = 1 << 30


class TrainedDlrm(nn.Module):
    """Bottom MLP, embeddings in the model's representations, interaction, top MLP; yields log-odds.

    Args:
        weights: where training starts.
        codes_bytes: DHE codes are kept, smallest tables first, until they take this much memory.
    """

    def __init__(self, model: Model, weights: Weights, *, codes_bytes: int = _KEEP_CODES_BYTES) -> None:
        super().__init__()
        if model.interaction is None or model.top is None or model.bottom is None:
            raise RecsmithError(
                "train", f"model '{model.name}' is no DLRM with a bottom MLP", "Choose another architecture."
            )
        self.model = model
        self.names = [table.name for table in model.tables]
        kept = _tables_to_encode(model, codes_bytes)
        self.embeddings = nn.ModuleList(
            layer(table, _arrays(weights, table.name), keep_codes=table.name in kept) for table in model.tables
        )
        self.bottom = _stack(model.bottom, weights)
        self.top = _stack(model.top, weights)
        count = len(model.vectors) + 1
        i, j = torch.tril_indices(count, count, offset=0 if model.interaction.self_terms else -1)
        self._pairs_P = i * count + j

    def forward(self, batch: Batch) -> Tensor:
        """[B] log-odds of a click."""
        vectors = [_run(self.bottom, self.model.bottom, torch.from_numpy(batch.dense))]
        vectors += self._vectors(batch)
        logits_B1 = _run(self.top, self.model.top, self._interact(vectors), last=False)
        return logits_B1[:, 0]

    def weights(self, files: Mapping[str, Any] | None = None) -> Weights:
        """The parameters as they stand now."""
        tables: dict[str, Any] = {}
        parameters: dict[str, Any] = {}
        for name, embedding in zip(self.names, self.embeddings, strict=True):
            arrays = embedding.arrays()
            if "rows" in arrays:
                tables[name] = arrays["rows"]
            else:
                parameters |= {f"{name}.{part}": array for part, array in arrays.items()}
        dense = {}
        for part, stack in ((self.model.bottom, self.bottom), (self.model.top, self.top)):
            assert part is not None
            for i, linear in enumerate(stack):
                dense[f"{part.prefix}.{i}.weight"] = linear.weight.detach().numpy().copy()
                dense[f"{part.prefix}.{i}.bias"] = linear.bias.detach().numpy().copy()
        return Weights(tables, dense, files or {}, parameters)

    def _vectors(self, batch: Batch) -> list[Tensor]:
        ids, count = batch.sparse, batch.sparse.batch
        at = {feature.name: i for i, feature in enumerate(self.model.features)}
        found = []
        for feature, table in self.model.vectors:
            n = at[feature.name]
            if ids.offsets is None:
                values_L = torch.from_numpy(ids.values[n * count : (n + 1) * count])
                starts_B = torch.arange(count)
            else:
                own = ids.offsets[n * count : (n + 1) * count + 1]
                values_L = torch.from_numpy(ids.values[own[0] : own[-1]])
                starts_B = torch.from_numpy(own[:-1] - own[0])
            found.append(self.embeddings[self.names.index(table.name)](values_L, starts_B, feature.pooling))
        return found

    def _interact(self, vectors: list[Tensor]) -> Tensor:
        assert self.model.interaction is not None
        if self.model.interaction.kind == "cat":
            return torch.cat(vectors, dim=1)
        x_BFE = torch.stack(vectors, dim=1)
        products_BFF = torch.bmm(x_BFE, x_BFE.transpose(1, 2))
        return torch.cat([vectors[0], torch.index_select(products_BFF.flatten(1), 1, self._pairs_P)], dim=1)


def probabilities(module: TrainedDlrm, batch: Batch) -> NDArray[np.float32]:
    """[B] click probabilities; of a model whose top MLP ends in no sigmoid, what it yields."""
    assert module.model.top is not None
    with torch.inference_mode():
        found = module(batch)
        return (torch.sigmoid(found) if module.model.top.activations[-1] == "sigmoid" else found).numpy()


def start(model: Model, seed: int, table_arrays: Mapping[str, Mapping[str, Any]]) -> Weights:
    """Untrained weights: `table_arrays` for the tables, normal numbers for the MLPs as the published DLRM draws them
    (weights N(0, 2 / (in + out)), biases N(0, 1 / out), the second number being the variance)."""
    draw = np.random.Generator(np.random.SFC64([seed, 5]))
    dense = {}
    for part in (model.bottom, model.top):
        assert part is not None
        for i, (width_in, width_out) in enumerate(zip(part.widths, part.widths[1:], strict=False)):
            spread = np.sqrt(2 / (width_in + width_out))
            dense[f"{part.prefix}.{i}.weight"] = draw.normal(0, spread, (width_out, width_in)).astype(np.float32)
            dense[f"{part.prefix}.{i}.bias"] = draw.normal(0, np.sqrt(1 / width_out), width_out).astype(np.float32)
    tables = {name: arrays["rows"] for name, arrays in table_arrays.items() if "rows" in arrays}
    parameters = {
        f"{name}.{part}": array
        for name, arrays in table_arrays.items()
        for part, array in arrays.items()
        if part != "rows"
    }
    return Weights(tables, dense, {}, parameters)


def _arrays(weights: Weights, table: str) -> Mapping[str, Any]:
    return {"rows": weights.tables[table]} if table in weights.tables else weights.of(table)


def _tables_to_encode(model: Model, codes_bytes: int) -> set[str]:
    kept, filled = set(), 0
    taken = {t.name: t.rows * t.computed.k * 4 for t in model.tables if isinstance(t.computed, Dhe)}
    for name in sorted(taken, key=lambda name: taken[name]):
        filled += taken[name]
        if filled > codes_bytes:
            break
        kept.add(name)
    return kept


def _stack(part: Mlp, weights: Weights) -> nn.ModuleList:
    layers = nn.ModuleList()
    for i in range(len(part.activations)):
        linear = nn.Linear(part.widths[i], part.widths[i + 1])
        linear.weight = nn.Parameter(torch.from_numpy(np.array(weights.dense[f"{part.prefix}.{i}.weight"])))
        linear.bias = nn.Parameter(torch.from_numpy(np.array(weights.dense[f"{part.prefix}.{i}.bias"])))
        layers.append(linear)
    return layers


def _run(stack: nn.ModuleList, part: Mlp | None, x: Tensor, *, last: bool = True) -> Tensor:
    assert part is not None
    for i, (linear, activation) in enumerate(zip(stack, part.activations, strict=True)):
        x = products.linear(x, linear.weight, linear.bias)
        if activation == "relu":
            x = torch.relu(x)
        elif activation == "sigmoid" and (last or i + 1 < len(stack)):
            x = torch.sigmoid(x)
    return x
