"""FBGEMM's CPU tables: n-bit (inference) and TBE (training), one operator for all tables.

Release 1.8 walks its tables on one thread and has no knob for it; from N threads on, N concurrent calls each take
a slice of the batch (the operators release the GIL). Both that and a single call are measured.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import fbgemm_gpu
import numpy as np
import torch
from fbgemm_gpu.split_embedding_configs import SparseType
from fbgemm_gpu.split_table_batched_embeddings_ops_common import BoundsCheckMode, EmbeddingLocation
from fbgemm_gpu.split_table_batched_embeddings_ops_inference import IntNBitTableBatchedEmbeddingBagsCodegen
from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
    ComputeDevice,
    SplitTableBatchedEmbeddingBagsCodegen,
)
from numpy.typing import NDArray

from recsmith.spec import Jagged, UnavailableError

from ..engine import Setup
from .slices import Slices, cut
from .torch_tensors import TorchSettings, tensor

_SPARSE_TYPES = {
    "fp32": SparseType.FP32,
    "fp16": SparseType.FP16,
    "int8": SparseType.INT8,
    "int4": SparseType.INT4,
}


class _Fbgemm(TorchSettings):
    """One module, called once or on slices."""

    name: str
    op_based = True
    sliced = False

    def __init__(self, setup: Setup) -> None:
        self.version = str(fbgemm_gpu.__version__)
        self._features = len(setup.model.features)
        self._parts = setup.threads if self.sliced else 1
        if self.sliced and (setup.threads == 1 or setup.batch < setup.threads):
            raise UnavailableError("bench", "slices need several threads and samples; the single call stands for both")
        self.threads = 1 if self.sliced else setup.threads
        self._module = self._build(setup)
        self._fixed = setup.bag_lengths is not None
        self._offsets: dict[int, Any] = {}
        self._slices: Slices | None = None
        self._bottoms: list[Any] = [None] * self._parts
        self._join: Callable[[Any, Any], Any] | None = None
        if self.sliced:
            self._slices = Slices(self._parts, self._look_up, self._enter_thread)

    def _build(self, setup: Setup) -> Any:
        raise NotImplementedError

    def _form(self) -> str:
        return f"{self._parts} concurrent calls on slices of the batch, outputs left in slices; " if self.sliced else ""

    def _look_up(self, prepared: Any) -> Any:
        ids, offsets, bottom = prepared
        looked = self._module(ids, offsets)
        return looked if self._join is None else self._join(bottom, looked)

    def follow(self, bottom: Any, join: Callable[[Any, Any], Any]) -> None:
        """Let `join` follow the look-up of each slice, with the slice's part of `bottom`."""
        edges = [len(bottom) * i // self._parts for i in range(self._parts + 1)]
        self._bottoms = [bottom[low:high] for low, high in pairwise(edges)]
        self._join = join

    def _enter_thread(self) -> None:
        # Each slice is one thread's work: without this every call would start a team of its own.
        torch.set_num_threads(1)
        self.mode().__enter__()

    def prepare(self, ids: Jagged) -> Any:
        """Ids and offsets of all features, for each slice."""
        parts = cut(ids, self._parts, self._features) if self.sliced else [ids]
        bottoms = self._bottoms
        prepared = [(tensor(part.values), self._offsets_of(part, at), bottoms[at]) for at, part in enumerate(parts)]
        return prepared if self.sliced else prepared[0]

    def _offsets_of(self, ids: Jagged, part: int) -> Any:
        if part in self._offsets:
            return self._offsets[part]
        made = torch.arange(len(ids.values) + 1) if ids.offsets is None else tensor(ids.offsets.astype(np.int64))
        if self._fixed:
            self._offsets[part] = made
        return made

    def call(self, prepared: Any) -> Any:
        """[B, width], or the slices of it in order."""
        return self._look_up(prepared) if self._slices is None else self._slices(prepared)

    def output(self, result: Any) -> NDArray[np.float32]:
        """[B, width]."""
        return torch.cat(result).numpy() if self.sliced else result.numpy()

    def close(self) -> None:
        """Stop the threads."""
        if self._slices is not None:
            self._slices.close()


class NBit(_Fbgemm):
    """`IntNBitTableBatchedEmbeddingBagsCodegen` over the shared rows."""

    name = "fbgemm_nbit"

    def _build(self, setup: Setup) -> Any:
        self.settings = f"{self._form()}n-bit tables, bounds check off, rows shared, float32 output"
        types = {table.format.dtype for table in setup.model.tables}
        if not types <= set(_SPARSE_TYPES):
            raise UnavailableError("bench", f"fbgemm's n-bit tables have no {', '.join(sorted(types))} rows")
        at = {table.name: i for i, table in enumerate(setup.model.tables)}
        module = IntNBitTableBatchedEmbeddingBagsCodegen(
            [
                (t.name, t.rows, t.dim, _SPARSE_TYPES[t.format.dtype], EmbeddingLocation.HOST)
                for t in setup.model.tables
            ],
            feature_table_map=[at[feature.table] for feature in setup.model.features],
            bounds_check_mode=BoundsCheckMode.NONE,
            device="cpu",
            output_dtype=SparseType.FP32,
            row_alignment=1,
        )
        # As `initialize_weights`, but over the shared rows instead of a copy; it packs tables as we do.
        module.initialize_logical_weights_placements_and_offsets()
        module.weights_host = tensor(setup.buffer)
        starts = np.concatenate([[0], np.cumsum([table.nbytes for table in setup.model.tables])])
        module.weights_offsets = torch.tensor([int(starts[at[feature.table]]) for feature in setup.model.features])
        module.weight_initialized = True
        return module


class Tbe(_Fbgemm):
    """`SplitTableBatchedEmbeddingBagsCodegen` on the CPU over the shared rows."""

    name = "fbgemm_tbe"
    # Its operator has no kernel for inference mode.
    mode = torch.no_grad

    def _build(self, setup: Setup) -> Any:
        self.settings = f"{self._form()}TBE on CPU, bounds check off, rows shared"
        setup.require_float32(self.name)
        at = {table.name: i for i, table in enumerate(setup.model.tables)}
        # Made with one row a table: its own copy of the weights would be as large as ours.
        module = SplitTableBatchedEmbeddingBagsCodegen(
            [(1, table.dim, EmbeddingLocation.HOST, ComputeDevice.CPU) for table in setup.model.tables],
            feature_table_map=[at[feature.table] for feature in setup.model.features],
            bounds_check_mode=BoundsCheckMode.NONE,
            device=torch.device("cpu"),
        )
        rows = [table.rows for table in setup.model.tables]
        starts = np.concatenate([[0], np.cumsum([table.rows * table.dim for table in setup.model.tables])])
        firsts = np.concatenate([[0], np.cumsum(rows)])
        module.rows_per_table = torch.tensor([rows[at[feature.table]] for feature in setup.model.features])
        module.hash_size_cumsum = torch.tensor(
            [int(firsts[at[feature.table]]) for feature in setup.model.features] + [int(firsts[-1])]
        )
        module.weights_host.data = tensor(setup.buffer.view(np.float32))
        module.weights_offsets = torch.tensor([int(starts[at[feature.table]]) for feature in setup.model.features])
        module.eval()
        return module


class SlicedNBit(NBit):
    """The same on slices of the batch."""

    name = "fbgemm_nbit[slices]"
    sliced = True


class SlicedTbe(Tbe):
    """The same on slices of the batch."""

    name = "fbgemm_tbe[slices]"
    sliced = True


ENGINES: tuple[Callable[[Setup], Any], ...] = (NBit, Tbe, SlicedNBit, SlicedTbe)
