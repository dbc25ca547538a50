"""torch.compile (inductor), in the form that suits the bags.

Bags of one id: `F.embedding` + cat, which fuses into one C++ loop. Longer bags: `F.embedding_bag`, as indexing
and summing materialises every row first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recsmith.spec import Jagged

from ..engine import Setup
from .torch_tensors import FeatureOffsets, TorchSettings, ids_by_feature, weights


class Compiled(TorchSettings):
    """One compiled function for all features."""

    name = "compile"
    op_based = True

    def __init__(self, setup: Setup) -> None:
        setup.require_float32(self.name)
        self.threads = setup.threads
        self.version = str(torch.__version__)
        self._weights = weights(setup)
        self._offsets = FeatureOffsets(setup)
        single = self.single(setup)
        # Sizes that change from batch to batch would be compiled anew each time.
        dynamic = setup.bag_lengths is None
        self.settings = (
            f"torch.compile(dynamic={dynamic}): F.embedding for {sum(single)} features with one id a bag, "
            f"F.embedding_bag for {len(single) - sum(single)}, + cat; {setup.threads} intra-op threads"
        )
        # A compiled graph a batch size and model; the default limit counts all of them in one process.
        torch._dynamo.config.cache_size_limit = max(256, torch._dynamo.config.cache_size_limit)
        self._compiled = torch.compile(written_for(single, self._weights), dynamic=dynamic)

    @staticmethod
    def single(setup: Setup) -> list[bool]:
        """Whether each feature always has one id a bag."""
        if setup.bag_lengths is None:
            return [False] * len(setup.model.features)
        return [length == 1 for length in setup.bag_lengths]

    def prepare(self, ids: Jagged) -> Any:
        """Ids and offsets of each feature."""
        return ids_by_feature(ids, len(self._weights)), self._offsets(ids)

    def call(self, prepared: Any) -> Any:
        """[B, width]."""
        return self._compiled(*prepared)

    def output(self, result: Any) -> NDArray[np.float32]:
        """[B, width]."""
        return result.numpy()

    def close(self) -> None:
        """Nothing to give back."""


def written_for(single: list[bool], tables: list[Any]) -> Any:
    """The function to compile: (ids, offsets) of each feature -> [B, width]."""
    functional = torch.nn.functional

    def look_up(ids: list[Any], offsets: list[Any]) -> Any:
        parts = []
        for at, one in enumerate(single):
            if one:
                parts.append(functional.embedding(ids[at], tables[at]))
            else:
                bag = functional.embedding_bag(ids[at], tables[at], offsets[at], mode="sum", include_last_offset=True)
                parts.append(bag)
        return torch.cat(parts, 1)

    return look_up


ENGINES = (Compiled,)
