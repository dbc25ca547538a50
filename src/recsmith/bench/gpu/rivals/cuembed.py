"""NVIDIA cuEmbed, a library of headers for one table: compiled beforehand, over all tables as one.

`RECSMITH_CUEMBED` names the shared library that `benchmarks/gpu/build_cuembed.sh` makes of cuEmbed's headers.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

from recsmith.spec import UnavailableError

from ..case import GpuCase


class CuEmbed:
    """`EmbeddingForward`, row numbers of all tables made beforehand."""

    name = "cuembed"
    op_based = False
    graphable = True

    def __init__(self, case: GpuCase) -> None:
        path = os.environ.get("RECSMITH_CUEMBED", "")
        if not path or not Path(path).exists():
            raise UnavailableError("bench", "RECSMITH_CUEMBED names no library", "See benchmarks/gpu/build_cuembed.sh.")
        if case.output != case.dtype:
            raise UnavailableError("bench", f"cuEmbed writes what it reads, {case.dtype}, not {case.output}", "")
        torch = case.world.torch
        self._case, self._library = case, ctypes.CDLL(path)
        self.version = os.environ.get("RECSMITH_CUEMBED_VERSION", "unknown")
        self.settings = "EmbeddingForward(sum) over all tables as one, row numbers made beforehand"
        rows = [case.global_rows(at) for at in range(case.sets)]
        shape = (case.features, case.batch)
        self._rows = [each.view(shape).t().contiguous().view(-1) for each in rows] if case.one_hot else rows
        self._out = case.world.empty((case.batch * case.features, case.dim), case.element(case.output))
        self._torch = torch

    def call(self, at: int) -> Any:
        """[B * F, E] for bags of one, [F * B, E] for longer ones."""
        case = self._case
        offsets = case.offsets
        failed = self._library.recsmith_cuembed_forward(
            ctypes.c_int(case.dtype == "fp16"),
            ctypes.c_void_p(case.flat.data_ptr()),
            ctypes.c_int(case.dim),
            ctypes.c_void_p(self._rows[at].data_ptr()),
            ctypes.c_void_p(0 if offsets is None else offsets.data_ptr()),
            ctypes.c_int(case.batch * case.features),
            ctypes.c_void_p(self._out.data_ptr()),
            ctypes.c_void_p(self._torch.cuda.current_stream().cuda_stream),
        )
        if failed:
            raise UnavailableError("bench", f"cuEmbed answers with error {failed}", "")
        return self._out

    def output(self, result: Any) -> Any:
        """[B, W]."""
        case = self._case
        if case.offsets is not None:
            result = result.view(case.features, case.batch, case.dim).transpose(0, 1)
        return result.reshape(case.batch, case.width)

    def close(self) -> None:
        """Let go of row numbers."""
        self._rows = []


ENGINES = (CuEmbed,)
