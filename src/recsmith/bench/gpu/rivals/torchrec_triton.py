"""TorchRec's Triton tables, forward only."""

from __future__ import annotations

from typing import Any

import torch
from fbgemm_gpu.split_table_batched_embeddings_ops_common import BoundsCheckMode
from torchrec.distributed.triton_tbe.triton_table_batched_embeddings import TritonTableBatchedEmbeddingBags

from ..case import GpuCase


class TritonTables:
    """`TritonTableBatchedEmbeddingBags` over the shared rows."""

    name = "torchrec-triton"
    op_based = False
    graphable = True

    def __init__(self, case: GpuCase) -> None:
        import os

        self.version = os.environ.get("RECSMITH_TORCHREC_VERSION", "unknown")
        self.settings = "TritonTableBatchedEmbeddingBags, bounds check off, bag sizes told, rows shared, int64 ids"
        model = case.shape.model
        at = {table.name: i for i, table in enumerate(model.tables)}
        module = TritonTableBatchedEmbeddingBags(
            [(table.rows, case.dim) for table in model.tables],
            feature_table_map=[at[feature.table] for feature in model.features],
            weights_precision=case.flat.dtype,
            output_dtype=case.out.dtype,
            device=torch.device(case.world.place),
            bag_size_hints=list(case.bags),
        )
        # Over the shared rows instead of its own, which are laid out in the same way.
        module.weight = case.flat.view(-1)
        module.bounds_check_mode = BoundsCheckMode.NONE
        offsets = torch.arange(case.length + 1) if case.offsets is None else case.offsets
        self._module, self._offsets = module, offsets.to(case.world.place).long()
        self._values = [values.long() for values in case.values]

    def call(self, at: int) -> Any:
        """[B, W]."""
        with torch.no_grad():
            return self._module(self._values[at], self._offsets)

    def output(self, result: Any) -> Any:
        """[B, W]."""
        return result

    def close(self) -> None:
        """Let go of ids."""
        self._values = []


ENGINES = (TritonTables,)
