"""Arguments as the bytes that kernels take: the structs of csrc/cuda/call.cuh."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Protocol

from .call import MODES, POLICIES, Ids, Vectors

_IDS = struct.Struct("<QQQqQ")
_FEATURE = struct.Struct("<QqqqqQqiiiiiiqQQ")
# What a kernel may take by value since CUDA 12.1.
MOST_ARGUMENT_BYTES = 32764


def packed_ids(ids: Ids) -> bytes:
    """`Ids` in call.cuh."""
    return _IDS.pack(ids.values, ids.offsets, ids.weights, ids.batch, ids.faults)


class Share(Protocol):
    """How bags are shared by threads: `gathering.Shared`."""

    @property
    def recipe(self) -> int:
        """The recipe's place among the program's."""

    @property
    def split(self) -> int:
        """Groups of threads that share a bag."""

    @property
    def bags(self) -> int:
        """Bags that a block serves."""


def packed_feature(vectors: Vectors, share: Share | None = None) -> bytes:
    """`Feature` in call.cuh; without a share where the program knows it all."""
    rows = vectors.rows
    recipe, split, bags = (share.recipe, share.split, share.bags) if share else (0, 1, 0)
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
        rows.near,
        # Places are counted from the table's first row on; the sum is an address again.
        (rows.beyond - rows.near * rows.stride_bytes) % (1 << 64) if rows.cut else 0,
        rows.order,
    )


def packed_numbers(numbers: Sequence[int]) -> bytes:
    """32-bit numbers, filled up to a multiple of 8 bytes."""
    return struct.pack(f"<{len(numbers)}i", *numbers) + bytes(4 * (len(numbers) % 2))
