"""Numba: the loop one would write, compiled; samples in parallel. Not built from operators."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Jagged

from ..engine import Setup


@numba.njit(parallel=True, fastmath=True, boundscheck=False, nogil=True)
def _one_hot_parallel(buffer, starts_F, dims_F, columns_F, ids, batch, width):  # type: ignore[no-untyped-def]
    out = np.empty((batch, width), np.float32)
    for b in numba.prange(batch):
        for f in range(len(starts_F)):
            row = starts_F[f] + ids[f * batch + b] * dims_F[f]
            for d in range(dims_F[f]):
                out[b, columns_F[f] + d] = buffer[row + d]
    return out


@numba.njit(fastmath=True, boundscheck=False, nogil=True)
def _one_hot(buffer, starts_F, dims_F, columns_F, ids, batch, width):  # type: ignore[no-untyped-def]
    out = np.empty((batch, width), np.float32)
    for b in range(batch):
        for f in range(len(starts_F)):
            row = starts_F[f] + ids[f * batch + b] * dims_F[f]
            for d in range(dims_F[f]):
                out[b, columns_F[f] + d] = buffer[row + d]
    return out


@numba.njit(parallel=True, fastmath=True, boundscheck=False, nogil=True)
def _bags_parallel(buffer, starts_F, dims_F, columns_F, ids, offsets, batch, width):  # type: ignore[no-untyped-def]
    out = np.zeros((batch, width), np.float32)
    for b in numba.prange(batch):
        for f in range(len(starts_F)):
            for i in range(offsets[f * batch + b], offsets[f * batch + b + 1]):
                row = starts_F[f] + ids[i] * dims_F[f]
                for d in range(dims_F[f]):
                    out[b, columns_F[f] + d] += buffer[row + d]
    return out


@numba.njit(fastmath=True, boundscheck=False, nogil=True)
def _bags(buffer, starts_F, dims_F, columns_F, ids, offsets, batch, width):  # type: ignore[no-untyped-def]
    out = np.zeros((batch, width), np.float32)
    for b in range(batch):
        for f in range(len(starts_F)):
            for i in range(offsets[f * batch + b], offsets[f * batch + b + 1]):
                row = starts_F[f] + ids[i] * dims_F[f]
                for d in range(dims_F[f]):
                    out[b, columns_F[f] + d] += buffer[row + d]
    return out


class Loop:
    """The compiled loop over the shared rows."""

    name = "numba"
    op_based = False

    def __init__(self, setup: Setup) -> None:
        setup.require_float32(self.name)
        # Numba cannot run more threads than it started with.
        self._threads = count = min(setup.threads, numba.config.NUMBA_NUM_THREADS)
        self.version = str(numba.__version__)
        # One sample or one thread: starting a parallel region costs more than the look-up.
        alone = count == 1 or setup.batch == 1
        self.settings = f"njit({'' if alone else 'parallel, '}fastmath), {1 if alone else count} threads"
        kernels = (_one_hot, _one_hot_parallel) if setup.one_hot else (_bags, _bags_parallel)
        self._kernel = kernels[0] if alone else kernels[1]
        self._one_hot, self._shape = setup.one_hot, (setup.batch, setup.model.width)
        starts = np.concatenate([[0], np.cumsum([table.rows * table.dim for table in setup.model.tables])])
        by_name = {table.name: int(start) for table, start in zip(setup.model.tables, starts, strict=False)}
        dims_F = np.array(setup.dims, dtype=np.int64)
        self._fixed = (
            setup.buffer.view(np.float32),
            np.array([by_name[feature.table] for feature in setup.model.features], dtype=np.int64),
            dims_F,
            np.concatenate([[0], np.cumsum(dims_F)])[:-1],
        )

    def activate(self) -> None:
        """Set Numba's threads."""
        self._before = numba.get_num_threads()
        numba.set_num_threads(self._threads)

    def deactivate(self) -> None:
        """Put them back."""
        numba.set_num_threads(self._before)

    def prepare(self, ids: Jagged) -> Any:
        """The ids as they are, and their offsets."""
        if self._one_hot:
            return (ids.values,)
        offsets = np.arange(len(ids.values) + 1) if ids.offsets is None else ids.offsets
        return ids.values, offsets

    def call(self, prepared: Any) -> Any:
        """[B, width]."""
        return self._kernel(*self._fixed, *prepared, *self._shape)

    def output(self, result: Any) -> NDArray[np.float32]:
        """[B, width]."""
        return result

    def close(self) -> None:
        """Nothing to give back."""


ENGINES = (Loop,)
