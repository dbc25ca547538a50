"""Rows in float64: what the bytes of each format mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import RowFormat, Table


def decode(stored: NDArray[np.generic], table: Table) -> NDArray[np.float64]:
    """The values of `stored` (as in `Weights.tables`): [rows, dim] float64."""
    match table.format.dtype:
        case "fp32" | "fp16":
            return stored.astype(np.float64)
        case "bf16":
            return (stored.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        case "int8":
            scale, bias, codes = _split(stored)
            return codes[:, : table.dim] * scale + bias
        case "int4":
            scale, bias, packed = _split(stored)
            codes = np.stack([packed & 0x0F, packed >> 4], axis=-1).reshape(len(stored), -1)
            return codes[:, : table.dim] * scale + bias


def encode(values: NDArray[np.floating], row_format: RowFormat) -> NDArray[np.generic]:
    """Rows [rows, dim] stored in `row_format`, as in `Weights.tables`.

    fp16 and bf16 round to nearest even; int8 and int4 spread their codes over each row's range, so an
    element is off by at most half a step, (max - min) / (2 * (codes - 1)), plus fp16 rounding of the header.
    """
    single = np.ascontiguousarray(values, dtype=np.float32)
    match row_format.dtype:
        case "fp32":
            return single
        case "fp16":
            return single.astype(np.float16)
        case "bf16":
            bits = single.view(np.uint32)
            rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
            return np.where(np.isnan(single), np.uint16(0x7FC0), rounded.astype(np.uint16))
        case "int8":
            return _quantise(single, row_format, 255)
        case "int4":
            return _quantise(single, row_format, 15)


def _split(stored: NDArray[np.generic]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8]]:
    raw = np.ascontiguousarray(stored).view(np.uint8)
    header = np.ascontiguousarray(raw[:, :4]).view(np.float16).astype(np.float64)
    return header[:, :1], header[:, 1:], raw[:, 4:]


def _quantise(values: NDArray[np.float32], row_format: RowFormat, levels: int) -> NDArray[np.uint8]:
    rows, dim = values.shape
    low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    bias = low.astype(np.float16)
    spread = high - bias.astype(np.float32)
    # A scale that rounds to zero would lose the whole row; the smallest fp16 keeps the codes at zero instead.
    scale = np.maximum((spread / levels).astype(np.float16), np.float16(6e-8))
    codes = np.rint((values - bias.astype(np.float32)) / scale.astype(np.float32))
    codes = np.clip(codes, 0, levels).astype(np.uint8)
    stored = np.zeros((rows, row_format.stride_bytes(dim)), dtype=np.uint8)
    stored[:, :4] = np.concatenate([scale, bias], axis=1).view(np.uint8)
    if levels == 15:
        even = np.pad(codes, ((0, 0), (0, dim % 2)))
        codes = even[:, 0::2] | (even[:, 1::2] << 4)
    stored[:, 4 : 4 + codes.shape[1]] = codes
    return stored
