"""Tables streamed through shared memory in chunks ([ASYM] `gm_ub` on multiprocessors)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate
from math import ceil

from recsmith.spec import CapacityError, InputError

from .call import Ids, OutputType, Vectors
from .gathering import Gathering, GatherTuning, fitting
from .packing import packed_feature, packed_ids, packed_numbers
from .program import Launch, Program
from .recipe import Recipe

CHUNK_BYTES = 32 << 10
# What may be read behind a chunk's last row, and its distance from a multiple of 16 before the first.
_SLACK_BYTES = 64


def streamed(
    vectors: Sequence[Vectors],
    ids: Ids,
    output: OutputType = "fp32",
    tuning: GatherTuning | None = None,
    recipes: Sequence[Recipe] = (),
    chunk_bytes: int = CHUNK_BYTES,
) -> Launch:
    """The launch that writes the vectors of all features, reading every table whole, for each block of samples.

    Source: [ASYM] A3 (`gm_ub`); two chunks in turn and bags in registers are ours.

    Args:
        chunk_bytes: of a table at a time; a block takes twice that of shared memory.

    Raises:
        InputError: a feature makes one vector an id or has no ids, or rows or outputs split their elements.
        CapacityError: a row is larger than a chunk, or there are more features than one launch takes.
    """
    chosen = tuning or GatherTuning()
    for one in vectors:
        if one.mode in ("each", "identity"):
            raise InputError("lookup", f"mode '{one.mode}' has no bags to add up", "Use `lookup` for it.")
        if one.rows.cut:
            raise InputError("lookup", "a table that is cut cannot be streamed", "Use `lookup` for it.")
        if one.rows.stride_bytes > chunk_bytes:
            problem = f"a row of {one.rows.stride_bytes} bytes is larger than a chunk of {chunk_bytes}"
            raise CapacityError("lookup", problem, "Use larger chunks, or `lookup`.")
    gathering = Gathering(vectors, ids, chosen, recipes)
    # Bags stay in registers from the first chunk to the last, so a block serves one a group.
    bags = [min(share.bags, chosen.threads // gathering.recipes[share.recipe].lanes) for share in gathering.shares]
    firsts = [0, *accumulate(ceil(ids.batch / count) for count in bags)]
    arguments = packed_ids(ids)
    arguments += struct.pack(f"<{len(vectors)}q", *(chunk_bytes // one.rows.stride_bytes for one in vectors))
    for one, share, count in zip(vectors, gathering.shares, bags, strict=True):
        arguments += packed_feature(one, type(share)(share.recipe, share.split, count))
    arguments = fitting(arguments + packed_numbers(firsts), len(vectors))
    whole = chunk_bytes + _SLACK_BYTES
    constants = (("ROOM_BYTES", str(gathering.room_bytes)), ("CHUNK_BYTES", str(whole)))
    program = Program("streamed.cu", "streamed", (*gathering.constants(output), *constants))
    return Launch(program, firsts[-1], chosen.threads, arguments, gathering.room_bytes + 2 * whole)
