"""PyTorch's own modules, one call a table, then concatenation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recsmith.spec import Jagged, UnavailableError

from ..engine import Setup
from .torch_tensors import FeatureOffsets, TorchSettings, ids_by_feature, weights


class EmbeddingBags(TorchSettings):
    """`nn.EmbeddingBag` with include_last_offset."""

    name = "torch"
    op_based = True

    def __init__(self, setup: Setup) -> None:
        setup.require_float32(self.name)
        self.threads = setup.threads
        self.version = str(torch.__version__)
        self.settings = f"nn.EmbeddingBag(sum, include_last_offset) a feature + cat, {setup.threads} intra-op threads"
        self._features = len(setup.model.features)
        self._offsets = FeatureOffsets(setup)
        self._bags = [
            torch.nn.EmbeddingBag.from_pretrained(table, mode="sum", include_last_offset=True)
            for table in weights(setup)
        ]

    def prepare(self, ids: Jagged) -> Any:
        """Ids and offsets of each feature."""
        return list(zip(self._bags, ids_by_feature(ids, self._features), self._offsets(ids), strict=True))

    def call(self, prepared: Any) -> Any:
        """[B, width]."""
        return torch.cat([bag(ids, offsets) for bag, ids, offsets in prepared], 1)

    def output(self, result: Any) -> NDArray[np.float32]:
        """[B, width]."""
        return result.numpy()

    def close(self) -> None:
        """Nothing to give back."""


class Embeddings(TorchSettings):
    """`F.embedding` for one-hot features: cheaper than a bag a table."""

    name = "torch_embedding"
    op_based = True

    def __init__(self, setup: Setup) -> None:
        setup.require_float32(self.name)
        if not setup.one_hot:
            raise UnavailableError("bench", "nn.Embedding takes one id a sample")
        self.threads = setup.threads
        self.version = str(torch.__version__)
        self.settings = f"F.embedding a feature + cat, {setup.threads} intra-op threads"
        self._weights = weights(setup)

    def prepare(self, ids: Jagged) -> Any:
        """Ids of each feature."""
        return list(zip(ids_by_feature(ids, len(self._weights)), self._weights, strict=True))

    def call(self, prepared: Any) -> Any:
        """[B, width]."""
        embedding = torch.nn.functional.embedding
        return torch.cat([embedding(ids, table) for ids, table in prepared], 1)

    def output(self, result: Any) -> NDArray[np.float32]:
        """[B, width]."""
        return result.numpy()

    def close(self) -> None:
        """Nothing to give back."""


ENGINES = (EmbeddingBags, Embeddings)
