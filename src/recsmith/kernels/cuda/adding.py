"""Partial sums of row shards added up: one launch, the same order every time."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil

from .call import ELEMENT_BYTES, Ids, OutputType, Vectors
from .gathering import OUTPUTS, fitting, index_constants
from .packing import packed_feature, packed_ids, packed_numbers
from .program import Launch, Program

_PARTIAL = struct.Struct("<Qii")
_THREADS = 256
_WARPS = _THREADS // 32


@dataclass(frozen=True, slots=True)
class Partial:
    """One shard's sums of a feature's bags.

    Attributes:
        address: of float32 vectors [B, E], weights multiplied in, not yet divided for means.
        first, stop: samples that the shard was summed for; the others' vectors are not read.
    """

    address: int
    first: int
    stop: int


@dataclass(frozen=True, slots=True)
class Summed:
    """A feature whose vectors are sums of partial ones.

    Attributes:
        vectors: the feature; of its rows no element is read.
        partials: in the order in which they are added.
    """

    vectors: Vectors
    partials: tuple[Partial, ...]


def listed(sums: Sequence[Summed]) -> bytes:
    """The partials of all features, to be put on the GPU at a multiple of 16; their address is given to `added`."""
    return b"".join(_PARTIAL.pack(one.address, one.first, one.stop) for each in sums for one in each.partials)


def added(sums: Sequence[Summed], ids: Ids, partials: int, output: OutputType = "fp32") -> Launch:
    """The launch that writes the sums, means divided by the number of their ids but for padding and those outside.

    Source: [ASYM] A4r (chunks of one table need a final add); the fixed order is ours.

    Args:
        ids: whose bags were summed; read for means only.
        partials: address of `listed(sums)` on the GPU.

    Raises:
        CapacityError: there are more features than one launch takes.
    """
    firsts = [*accumulate((len(each.partials) for each in sums), initial=0)]
    arguments = packed_ids(ids) + struct.pack("<Q", partials)
    arguments += b"".join(packed_feature(each.vectors) for each in sums)
    arguments += packed_numbers(firsts) + packed_numbers([each.vectors.rows.dim for each in sums])
    constants = (
        *index_constants(ids),
        ("FEATURES", str(len(sums))),
        ("THREADS", str(_THREADS)),
        ("OUTPUT", str(OUTPUTS[output])),
        ("OUTPUT_PIECE", str(ELEMENT_BYTES[output])),
    )
    blocks = len(sums) * ceil(ids.batch / _WARPS)
    return Launch(Program("adding.cu", "adding", constants), blocks, _THREADS, fitting(arguments, len(sums)))
