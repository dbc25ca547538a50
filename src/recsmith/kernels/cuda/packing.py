"""Arguments as the bytes that kernels take: the structs of csrc/cuda/call.cuh."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from .call import MODES, POLICIES, Ids, Vectors

_IDS = struct.Struct("<QQQqQ")
_FEATURE = struct.Struct("<QqqqqQqiiiiii")
FEATURE_BYTES = _FEATURE.size
# What a kernel may take by value since CUDA 12.1.
MOST_ARGUMENT_BYTES = 32764


def packed_ids(ids: Ids) -> bytes:
    """`Ids` in call.cuh."""
    return _IDS.pack(ids.values, ids.offsets, ids.weights, ids.batch, ids.faults)


def packed_feature(vectors: Vectors, recipe: int, split: int = 1, bags: int = 0) -> bytes:
    """`Feature` in call.cuh.

    Args:
        recipe: the recipe's place among the program's.
        split: groups of threads that share a bag.
        bags: bags that a block serves.
    """
    rows = vectors.rows
    return _FEATURE.pack(
        rows.address,
        rows.stride_bytes,
        rows.rows,
        -1 if vectors.padding_id is None else vectors.padding_id,
        vectors.default_row,
        vectors.out,
        vectors.out_stride_bytes,
        vectors.number,
        recipe,
        MODES[vectors.mode],
        POLICIES[vectors.policy],
        split,
        bags,
    )


def packed_numbers(numbers: Sequence[int]) -> bytes:
    """32-bit numbers, filled up to a multiple of 8 bytes."""
    return struct.pack(f"<{len(numbers)}i", *numbers) + bytes(4 * (len(numbers) % 2))
