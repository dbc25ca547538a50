"""zentorch, AMD's plug-in for torch: its group operator over all tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import zentorch
from numpy.typing import NDArray

from recsmith.spec import Jagged

from ..engine import Setup
from .torch_tensors import FeatureOffsets, TorchSettings, ids_by_feature, weights


class EmbeddingBagGroup(TorchSettings):
    """`zentorch_horizontal_embedding_bag_group` + cat."""

    name = "zentorch"
    op_based = True

    def __init__(self, setup: Setup) -> None:
        setup.require_float32(self.name)
        self.threads = setup.threads
        self.version = str(zentorch.__version__)
        self.settings = f"zentorch_horizontal_embedding_bag_group + cat, {setup.threads} threads"
        self._weights = weights(setup)
        self._offsets = FeatureOffsets(setup)
        count = len(self._weights)
        self._op = torch.ops.zentorch.zentorch_horizontal_embedding_bag_group.default
        # scale_grad_by_freq, mode (0: sum), sparse, per_sample_weights, include_last_offset, padding_idx
        self._rest = ([0] * count, [0] * count, [0] * count, [None] * count, [1] * count, [-1] * count)

    def prepare(self, ids: Jagged) -> Any:
        """Ids and offsets of each feature."""
        return ids_by_feature(ids, len(self._weights)), self._offsets(ids)

    def call(self, prepared: Any) -> Any:
        """[B, width]."""
        return torch.cat(self._op(self._weights, *prepared, *self._rest), 1)

    def output(self, result: Any) -> NDArray[np.float32]:
        """[B, width]."""
        return result.numpy()

    def close(self) -> None:
        """Nothing to give back."""


ENGINES = (EmbeddingBagGroup,)
