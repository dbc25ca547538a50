"""Whole DLRMs by torch on a GPU, from ids in pinned host memory to predictions on the host.

One id a bag. Inputs are pinned before the clock starts, which ours are not. B samples, F features, E dim, D dense
inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Batch, Mlp, Model, UnavailableError

Prepared = tuple[Any, Any]


@dataclass(frozen=True, slots=True)
class Given:
    """What a rival is made from.

    Attributes:
        place: torch's name of the GPU; "cpu" where one is emulated.
        precision: `fp32` and `tf32` want float32 tables, `fp16` those of float16.
    """

    model: Model
    tables: Mapping[str, NDArray[np.generic]]
    dense: Mapping[str, NDArray[np.float32]]
    place: str
    precision: str


class TorchOnGpu:
    """Eager: one `F.embedding` a feature, then bottom MLP, `bmm`, lower triangle, top MLP.

    Raises:
        UnavailableError: bags of several ids, or an interaction other than `dot` behind a bottom MLP.
    """

    name = "torch"
    fused = False
    how = "eager"

    def __init__(self, given: Given) -> None:
        import torch

        model, self._torch = given.model, torch
        self._check(model)
        self.version = str(torch.__version__)
        self._place, self._precision = given.place, given.precision
        self._kind = torch.float16 if given.precision == "fp16" else torch.float32
        if given.precision != "fp32":
            self.name = f"{self.name}[{given.precision}]"
        self.settings = f"{self.how}, {'one table' if self.fused else 'a table a feature'}, {given.precision}"
        self._features = len(model.features)
        self._tables = [self._there(given.tables[f.table]) for f in model.features]
        if self.fused:
            rows = [0, *np.cumsum([len(table) for table in self._tables])[:-1]]
            self._first = torch.tensor(rows, device=self._place)[:, None]
            self._tables = [torch.cat(self._tables)]
        assert model.bottom is not None and model.top is not None
        self._bottom, self._top = (self._mlp(part, given) for part in (model.bottom, model.top))
        vectors, below = self._features + 1, 0 if model.interaction and model.interaction.self_terms else -1
        low, high = torch.tril_indices(vectors, vectors, below)
        self._chosen = (low * vectors + high).to(self._place)

    def activate(self) -> None:
        """Inference mode with the wanted products."""
        self._entered = self._mode()
        self._entered.__enter__()

    def deactivate(self) -> None:
        """As before."""
        self._entered.__exit__(None, None, None)

    def prepare(self, batch: Batch) -> Prepared:
        """Ids [F, B] and dense inputs [B, D] in pinned memory."""
        ids = self._torch.from_numpy(batch.sparse.values.reshape(self._features, batch.sparse.batch))
        dense = self._torch.from_numpy(batch.dense)
        return (ids, dense) if self._place == "cpu" else (ids.pin_memory(), dense.pin_memory())

    def call(self, prepared: Prepared) -> Any:
        """[B, 1] on the host."""
        return self._forward(*(x.to(self._place, non_blocking=True) for x in prepared)).cpu()

    def output(self, result: Any) -> NDArray[np.float32]:
        """[B]."""
        return result.float().numpy().reshape(-1)

    def close(self) -> None:
        """Let go of tables."""
        self._tables = []

    def _forward(self, ids_FB: Any, dense_BD: Any) -> Any:
        torch = self._torch
        bottom = self._through(self._bottom, dense_BD.to(self._kind))
        if self.fused:
            looked = [torch.nn.functional.embedding((ids_FB + self._first).t(), self._tables[0])]
        else:
            each = zip(ids_FB, self._tables, strict=True)
            looked = [torch.nn.functional.embedding(ids, table)[:, None] for ids, table in each]
        vectors = torch.cat([bottom[:, None], *looked], 1)
        products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)[:, self._chosen]
        return torch.sigmoid(self._through(self._top, torch.cat([bottom, products], 1), last=False).float())

    def _through(self, layers: list[tuple[Any, Any]], x: Any, *, last: bool = True) -> Any:
        for at, (weight, bias) in enumerate(layers):
            x = self._torch.nn.functional.linear(x, weight, bias)
            if last or at + 1 < len(layers):
                x = x.relu()
        return x

    def _mlp(self, part: Mlp, given: Given) -> list[tuple[Any, Any]]:
        names = [f"{part.prefix}.{at}" for at in range(len(part.activations))]
        arrays = [(given.dense[f"{name}.weight"], given.dense[f"{name}.bias"]) for name in names]
        return [(self._there(weight).to(self._kind), self._there(bias).to(self._kind)) for weight, bias in arrays]

    def _there(self, array: NDArray[Any]) -> Any:
        return self._torch.from_numpy(array).to(self._place)

    @contextmanager
    def _mode(self) -> Any:
        torch = self._torch
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if self._precision == "tf32" else "highest")
        with torch.inference_mode():
            yield
        torch.set_float32_matmul_precision(before)

    def _check(self, model: Model) -> None:
        dot = model.interaction is not None and model.interaction.kind == "dot" and model.bottom is not None
        if not dot or any(feature.pooling == "none" or feature.weighted for feature in model.features):
            raise UnavailableError("bench", f"{self.name} is written for DLRMs with products and one id a bag", "")


class FusedOnGpu(TorchOnGpu):
    """Eager, all tables as one."""

    name = "fused"
    fused = True


class CompiledOnGpu(FusedOnGpu):
    """All tables as one, compiled by torch, recorded as a CUDA graph for each size of batch."""

    name = "compile"
    how = "torch.compile(dynamic=False), recorded as a CUDA graph, copies beside it"

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self._torch._dynamo.config.cache_size_limit = max(256, self._torch._dynamo.config.cache_size_limit)
        self._compiled: Callable[..., Any] = self._torch.compile(self._forward, dynamic=False)
        self._graphs: dict[int, tuple[Any, Prepared, Any]] = {}

    def call(self, prepared: Prepared) -> Any:
        """[B, 1] on the host."""
        if self._place == "cpu":
            return self._compiled(*prepared)
        batch = prepared[0].shape[1]
        if batch not in self._graphs:
            self._graphs[batch] = self._recorded(prepared)
        graph, inputs, out = self._graphs[batch]
        for target, source in zip(inputs, prepared, strict=True):
            target.copy_(source, non_blocking=True)
        graph.replay()
        return out.cpu()

    def close(self) -> None:
        """Let go of graphs and tables."""
        self._graphs.clear()
        super().close()

    def _recorded(self, prepared: Prepared) -> tuple[Any, Prepared, Any]:
        torch = self._torch
        inputs = (prepared[0].to(self._place), prepared[1].to(self._place))
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._compiled(*inputs)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            out = self._compiled(*inputs)
        torch.cuda.synchronize()
        return graph, inputs, out


RIVALS: dict[str, type[TorchOnGpu]] = {"torch": TorchOnGpu, "fused": FusedOnGpu, "compile": CompiledOnGpu}
PRECISE = ("compile",)
"""Rivals that take part in every precision, not in fp32 alone."""
