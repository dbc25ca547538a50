"""FBGEMM's GPU tables: the operator of inference (n-bit) and that of training, forward only.

The operators are called as FBGEMM's own modules call them, on one copy of the rows that all engines share.
"""

from __future__ import annotations

from typing import Any

import fbgemm_gpu

from ..case import GpuCase

_FP32, _FP16 = 0, 1
_KINDS = {"fp32": _FP32, "fp16": _FP16, "int8": 2, "int4": 3}
# Places of the largest dims among the operator's arguments.
_LARGEST = ("int2", "int4", "int8", "fp16", "fp32")


class Inference:
    """`int_nbit_split_embedding_codegen_lookup_function`: all tables in one call."""

    name = "fbgemm"
    op_based = True
    graphable = True

    def __init__(self, case: GpuCase) -> None:
        torch = case.world.torch
        self._case = case
        self.version = str(getattr(fbgemm_gpu, "__version__", "unknown"))
        how = "its own, aligned" if case.quantised else "shared"
        self.settings = f"int_nbit_split_embedding_codegen_lookup_function, {case.dtype} rows {how}, no bounds check"
        place = case.world.place
        starts = [first * case.stride_bytes for first in case.first_F]
        # It wants rows of codes at multiples of 16; ours lie so that codes do, not headers.
        self._rows = case.codes.clone() if case.quantised else case.flat
        offsets = case.offsets if case.offsets is not None else _one_each(case)
        empty = torch.empty(0, dtype=torch.uint8, device=place)
        dims = torch.arange(case.features + 1, dtype=torch.int32, device=place) * case.dim
        self._before = (
            self._rows.view(torch.uint8).view(-1),
            empty,
            torch.zeros(case.features, dtype=torch.int32, device=place),
            torch.tensor(starts, dtype=torch.int64, device=place),
            torch.full((case.features,), _KINDS[case.dtype], dtype=torch.uint8, device=place),
            dims,
            case.width,
            *(case.dim if name == case.dtype else 0 for name in _LARGEST),
        )
        cached = torch.empty(0, 0, dtype=torch.uint8, device=place)
        slots = torch.empty(0, dtype=torch.int32, device=place)
        output = _FP16 if case.output == "fp16" else _FP32
        self._after = (offsets, 0, None, output, cached, slots, 16, 0, -1, -1)
        self._function = torch.ops.fbgemm.int_nbit_split_embedding_codegen_lookup_function

    def call(self, at: int) -> Any:
        """[B, W]."""
        return self._function(*self._before, self._case.values[at], *self._after)

    def output(self, result: Any) -> Any:
        """[B, W]."""
        return result

    def close(self) -> None:
        """Nothing of its own."""


class Training:
    """`split_embedding_codegen_forward_unweighted_cuda`, the forward part of the training operator."""

    name = "fbgemm_tbe"
    op_based = True
    graphable = True
    newer = False

    def __init__(self, case: GpuCase) -> None:
        torch = case.world.torch
        self._case = case
        self.version = str(getattr(fbgemm_gpu, "__version__", "unknown"))
        form = "second" if self.newer else "first"
        self.settings = f"split_embedding_codegen_forward_unweighted_cuda, {form} form, rows shared, int64 ids"
        place = case.world.place
        offsets = case.offsets if case.offsets is not None else _one_each(case)
        empty = torch.empty(0, dtype=case.flat.dtype, device=place)
        starts = [first * case.dim for first in case.first_F]
        dims = torch.arange(case.features + 1, dtype=torch.int32, device=place) * case.dim
        slots = torch.empty(0, dtype=torch.int32, device=place)
        self._before = (
            case.flat.view(-1),
            empty,
            torch.empty(0, 0, dtype=case.flat.dtype, device=place),
            torch.zeros(case.features, dtype=torch.int32, device=place),
            torch.tensor(starts, dtype=torch.int64, device=place),
            dims,
            case.width,
            case.dim,
        )
        self._values = [values.long() for values in case.values]
        output = _FP16 if case.output == "fp16" else _FP32
        self._after = (offsets.long(), 0, slots, slots, output, self.newer)
        self._function = torch.ops.fbgemm.split_embedding_codegen_forward_unweighted_cuda

    def call(self, at: int) -> Any:
        """[B, W]."""
        return self._function(*self._before, self._values[at], *self._after)

    def output(self, result: Any) -> Any:
        """[B, W]."""
        return result

    def close(self) -> None:
        """Let go of ids."""
        self._values = []


class NewerTraining(Training):
    """The same in its second form."""

    name = "fbgemm_tbe2"
    newer = True


def _one_each(case: GpuCase) -> Any:
    torch = case.world.torch
    return torch.arange(case.length + 1, dtype=torch.int32, device=case.world.place)


ENGINES = (Inference, Training, NewerTraining)
