"""What all torch-based peers share: tensors over the shared memory, and torch's process settings."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recsmith.spec import Jagged

from ..engine import Setup


class TorchSettings:
    """Part of an engine that runs in torch's inference mode (or another) with a number of threads of its own.

    The mode is entered once a sample and not once a call, which would cost the rival a microsecond each time.
    """

    threads: int
    mode: Any = torch.inference_mode

    def activate(self) -> None:
        """Set the caller's intra-op threads and enter its mode."""
        self._before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        self._entered = self.mode()
        self._entered.__enter__()

    def deactivate(self) -> None:
        """Leave the mode and put the threads back."""
        self._entered.__exit__(None, None, None)
        torch.set_num_threads(self._before)


def tensor(array: NDArray[Any]) -> Any:
    """A tensor over the same memory."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def weights(setup: Setup) -> list[Any]:
    """Each feature's table, [rows, dim] float32, over the shared memory."""
    return [tensor(table) for table in setup.feature_tables]


def ids_by_feature(ids: Jagged, features: int) -> list[Any]:
    """Each feature's ids as a tensor [L_f] over the batch's memory."""
    return [tensor(ids.values[low:high]) for low, high in _bounds(ids, features)]


def _bounds(ids: Jagged, features: int) -> list[tuple[int, int]]:
    if ids.offsets is None:
        return [(f * ids.batch, (f + 1) * ids.batch) for f in range(features)]
    return [(int(ids.offsets[f * ids.batch]), int(ids.offsets[(f + 1) * ids.batch])) for f in range(features)]


def offsets_by_feature(ids: Jagged, features: int) -> list[Any]:
    """Each feature's offsets [B + 1], last one included, starting at 0."""
    if ids.offsets is None:
        return [torch.arange(ids.batch + 1)] * features
    parts = [ids.offsets[f * ids.batch : (f + 1) * ids.batch + 1] for f in range(features)]
    return [tensor((part - part[0]).astype(np.int64)) for part in parts]


class FeatureOffsets:
    """`offsets_by_feature`, made once when bag lengths do not vary."""

    def __init__(self, setup: Setup) -> None:
        self._features, self._fixed = len(setup.model.features), setup.bag_lengths is not None
        self._made: list[Any] | None = None

    def __call__(self, ids: Jagged) -> list[Any]:
        """Each feature's offsets for the batch."""
        if self._made is not None:
            return self._made
        made = offsets_by_feature(ids, self._features)
        if self._fixed:
            self._made = made
        return made
