"""Tables, or their hot rows, in the shared memory of the multiprocessors that own them ([ASYM] `l1` there)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from recsmith.spec import CapacityError, InputError

from .call import Ids, OutputType, StoredRows, Vectors
from .gathering import Gathering, GatherTuning, fitting
from .packing import packed_feature, packed_ids
from .program import Launch, Program
from .recipe import Recipe

# What may be read behind a table's last row, and its distance from a multiple of 16 before the first.
_SLACK_BYTES = 64
# What a block may have on any GPU from Hopper on; Ampere has 163 KiB.
MOST_SHARED_BYTES = 227 << 10
RESIDENT_TUNING = GatherTuning(threads=512)


@dataclass(frozen=True, slots=True)
class Segment:
    """Samples [first, stop) of one feature, served by one block.

    Attributes:
        vectors: the feature's place among the vectors of the launch.
        kept: rows [0, kept) are read from the block's shared memory, the others from memory: 0 for none, the table's
            rows for all, what lies between for hot rows (tables are then stored in order of frequency).
    """

    vectors: int
    first: int
    stop: int
    kept: int = 0


@dataclass(frozen=True, slots=True)
class Owners:
    """Who serves what, as the kernel reads it.

    Attributes:
        words: to be put on the GPU, at a multiple of 16; their address is given to `resident`.
        blocks: one for each list of segments.
        kept_bytes: shared memory that the fullest block keeps rows in.
    """

    words: bytes
    blocks: int
    kept_bytes: int


def owners(vectors: Sequence[Vectors], segments: Sequence[Sequence[Segment]]) -> Owners:
    """The segments of each block packed up; one block runs on each multiprocessor.

    A block serves segments without kept rows first, while its rows are on their way. Features that share a table share
    the kept rows.

    Raises:
        InputError: a feature makes one vector an id or has no ids.
    """
    copies: list[bytes] = []
    served: list[bytes] = []
    copies_of, served_of, fullest = [], [], 0
    for own in segments:
        places = _places(vectors, own)
        copies_of.append(len(places))
        served_of.append(len(own))
        for rows, (place, kept) in places.items():
            copies.append(struct.pack("<Qii", rows.address, kept * rows.stride_bytes, place))
            fullest = max(fullest, place + kept * rows.stride_bytes + _SLACK_BYTES)
        served += [_packed(segment, vectors, places) for segment in sorted(own, key=lambda one: one.kept > 0)]
    firsts = [*accumulate(copies_of, initial=0), *accumulate(served_of, initial=0)]
    words = b"".join(copies) + b"".join(served) + struct.pack(f"<{len(firsts)}i", *firsts)
    return Owners(words, len(segments), -(-fullest // 128) * 128)


def resident(
    vectors: Sequence[Vectors],
    ids: Ids,
    owned: Owners,
    words: int,
    output: OutputType = "fp32",
    tuning: GatherTuning = RESIDENT_TUNING,
    recipes: Sequence[Recipe] = (),
) -> Launch:
    """The launch in which every block serves its own segments; vectors without a segment are not written.

    Source: [ASYM] A3 (`l1`), A4 (asymmetric mapping).

    Args:
        owned: made for these very vectors.
        words: address of `owned.words` on the GPU.

    Raises:
        CapacityError: kept rows do not fit shared memory, or there are more features than one launch takes.
    """
    gathering = Gathering(vectors, ids, tuning, recipes)
    shared_bytes = gathering.room_bytes + owned.kept_bytes
    if shared_bytes > MOST_SHARED_BYTES:
        problem = f"kept rows and working room take {shared_bytes} bytes; a block has {MOST_SHARED_BYTES}"
        raise CapacityError("lookup", problem, "Keep fewer rows a block.")
    copies, served, first_copy, first_segment = _parts(owned, words)
    arguments = packed_ids(ids) + struct.pack("<QQQQ", copies, served, first_copy, first_segment)
    for one, share in zip(vectors, gathering.shares, strict=True):
        arguments += packed_feature(one, share)
    constants = (*gathering.constants(output), ("ROOM_BYTES", str(gathering.room_bytes)))
    program = Program("resident.cu", "resident", constants)
    return Launch(program, owned.blocks, tuning.threads, fitting(arguments, len(vectors)), shared_bytes)


def _places(vectors: Sequence[Vectors], own: Sequence[Segment]) -> dict[StoredRows, tuple[int, int]]:
    """Where the kept rows of each table begin in shared memory, and how many there are."""
    kept: dict[StoredRows, int] = {}
    for segment in own:
        one = vectors[segment.vectors]
        if one.mode in ("each", "identity"):
            raise InputError("lookup", f"mode '{one.mode}' has no bags to own", "Use `lookup` for it.")
        if segment.kept and one.rows.cut:
            raise InputError("lookup", "rows of a table that is cut cannot be kept", "Use `lookup` for it.")
        if segment.kept:
            kept[one.rows] = max(kept.get(one.rows, 0), min(segment.kept, one.rows.rows))
    places, end = {}, 0
    for rows, count in kept.items():
        # As far from a multiple of 16 as in memory, so that whole pieces are copied and read.
        place = end + (rows.address - end) % 16
        places[rows] = (place, count)
        end = place + count * rows.stride_bytes + _SLACK_BYTES
    return places


def _packed(segment: Segment, vectors: Sequence[Vectors], places: dict[StoredRows, tuple[int, int]]) -> bytes:
    place, kept = places[vectors[segment.vectors].rows] if segment.kept else (-1, 0)
    return struct.pack("<iiiiq", segment.vectors, segment.first, segment.stop, place, kept)


def _parts(owned: Owners, words: int) -> tuple[int, int, int, int]:
    """Addresses of copies, segments, and the first of each block's."""
    firsts = 2 * (owned.blocks + 1)
    numbers = struct.unpack(f"<{firsts}i", owned.words[-4 * firsts :])
    copies, first_copy = numbers[owned.blocks], words + len(owned.words) - 4 * firsts
    return words, words + 16 * copies, first_copy, first_copy + 4 * (owned.blocks + 1)
