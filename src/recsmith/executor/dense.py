"""The dense parts, run by torch in inference mode (torch is imported when the first one is made)."""

from __future__ import annotations

import threading
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Batch, InputError, Looked, Model, Weights

from .graph import load_graph
from .linear import import_torch, rounded
from .mlp import MlpLayers

# Buffers of batches above this are not kept.
_KEPT_BYTES = 256 << 20
# Floats of a cache line.
_LINE = 16


class Dense(Protocol):
    """What comes after the look-up, when that is not an interaction."""

    def room(self, batch: int) -> NDArray[np.float32] | None:
        """Where the look-up should write, [batch, width]; None leaves the choice to the caller."""

    def finish(self, batch: Batch, looked: Looked) -> NDArray[np.float32]:
        """The model's output; `looked` is the look-up of `batch`, in the array that `room` gave when it gave one."""


def dense_of(model: Model, weights: Weights) -> Dense | Dlrm | None:
    """The dense part of a DLRM or an exported graph; None when the model has none.

    Raises:
        UnavailableError: torch is not installed.
        FormatError: the exported graph is missing or damaged.
    """
    if model.top is not None and model.interaction is not None:
        return Dlrm(model, weights)
    if model.graph is not None:
        import_torch()
        return load_graph(model, weights)
    return None


class Dlrm:
    """The MLPs below and above the interaction, which is the engine's.

    The engine writes the top MLP's input into a buffer that belongs to the thread.
    """

    def __init__(self, model: Model, weights: Weights) -> None:
        self._torch = import_torch()
        assert model.interaction is not None and model.top is not None
        self._dense_inputs = model.dense_inputs
        self._bottom = None if model.bottom is None else MlpLayers(model.bottom, weights)
        self._top = MlpLayers(model.top, weights)
        self._columns = model.top.widths[0]
        self._outputs = model.top.widths[-1]
        self._own = threading.local()

    def bottom(self, batch: Batch) -> NDArray[np.float32] | None:
        """The bottom MLP's output [B, E]; None without one.

        Raises:
            InputError: dense inputs are missing or misshapen.
        """
        if self._bottom is None:
            return None
        inputs = dense_inputs(batch.dense, batch.sparse.batch, self._dense_inputs)
        with self._torch.inference_mode():
            values: NDArray[np.float32] = self._bottom(self._torch.from_numpy(inputs), len(inputs)).numpy()
        return values

    def room(self, batch: int) -> NDArray[np.float32]:
        """[B, I] for the top MLP's input; valid until the thread asks again."""
        return self._buffer(batch)[:batch, : self._columns]

    def top(self, joined: NDArray[np.float32]) -> NDArray[np.float32]:
        """The model's output [B], or [B, outputs] for more than one."""
        batch = len(joined)
        if self._top.packs(batch):
            joined = self._with_spare_rows(joined)
        with self._torch.inference_mode():
            values: NDArray[np.float32] = self._top(self._torch.from_numpy(joined), batch).numpy()
        return values[:, 0] if self._outputs == 1 else values

    def _buffer(self, batch: int) -> NDArray[np.float32]:
        buffer = self._kept()
        if buffer is None or len(buffer) < batch:
            buffer = _aligned(max(rounded(batch), 1), -(-self._columns // _LINE) * _LINE)
            if buffer.nbytes <= _KEPT_BYTES or not hasattr(self._own, "buffer"):
                self._own.buffer = buffer
        return buffer

    def _with_spare_rows(self, joined: NDArray[np.float32]) -> NDArray[np.float32]:
        """As many rows as the layers want, where `joined` is what `room` gave, which has them."""
        kept = self._kept()
        if kept is None or joined.base is not kept.base:
            return joined
        return kept[: rounded(len(joined)), : self._columns]

    def _kept(self) -> NDArray[np.float32] | None:
        found: NDArray[np.float32] | None = getattr(self._own, "buffer", None)
        return found


def dense_inputs(dense: NDArray[np.float32] | None, batch: int, columns: int) -> NDArray[np.float32]:
    """`dense` as the bottom MLP takes it.

    Raises:
        InputError: it is missing or misshapen.
    """
    if dense is None or dense.shape != (batch, columns):
        found = "none" if dense is None else str(list(dense.shape))
        raise InputError("run", f"dense inputs are {found}, wanted [{batch}, {columns}]", "Pass both.")
    return np.ascontiguousarray(dense, np.float32)


def _aligned(rows: int, columns: int) -> NDArray[np.float32]:
    """[rows, columns] that begins on a cache line: kernels write whole lines."""
    raw = np.zeros(rows * columns + 16, np.float32)
    skip = -raw.ctypes.data % 64 // 4
    return raw[skip : skip + rows * columns].reshape(rows, columns)
