"""Tables, or some of their rows, in the shared memory of the multiprocessors that own them ([ASYM] `l1` there)."""

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
MOST_TOGETHER = 8
"""Blocks of a cluster that every GPU with clusters can run."""
RESIDENT_TUNING = GatherTuning(threads=512)
_COPY = struct.Struct("<Qqiiii")
_SEGMENT = struct.Struct("<iiiiqqqii")


@dataclass(frozen=True, slots=True)
class Segment:
    """Samples [first, stop) of one feature, served by one block.

    Attributes:
        vectors: the feature's place among the vectors of the launch.
        kept: rows [start, start + kept) are read from shared memory, the others from memory: 0 for none.
        together: neighbouring blocks that keep these rows together, each every `together`-th of them, and read the
            others' (a cluster: only from Hopper on). All of them name the rows, in segments without samples where they
            serve none.
        start, rows: the rows that it serves; ids of others add nothing. All of the table when `rows` is 0.
        notes: whether it notes ids outside the table. Of several that serve the same samples, one should.
    """

    vectors: int
    first: int
    stop: int
    kept: int = 0
    together: int = 1
    start: int = 0
    rows: int = 0
    notes: bool = True


@dataclass(frozen=True, slots=True)
class Owners:
    """Who serves what, as the kernel reads it.

    Attributes:
        words: to be put on the GPU, at a multiple of 16; their address is given to `resident`.
        blocks: one for each list of segments, and as many more as clusters are to be whole.
        kept_bytes: shared memory that the fullest block keeps rows in.
        cluster: blocks a cluster.
    """

    words: bytes
    blocks: int
    kept_bytes: int
    cluster: int = 1


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows that some blocks keep."""

    table: StoredRows
    start: int
    together: int


@dataclass(frozen=True, slots=True)
class _Place:
    """Where kept rows begin in shared memory, and how many all blocks keep."""

    at: int
    kept: int


_Kept = dict[_Rows, _Place]


def owners(vectors: Sequence[Vectors], segments: Sequence[Sequence[Segment]]) -> Owners:
    """The segments of each block packed up; one block runs on each multiprocessor.

    A block serves segments without kept rows first, while its rows are on their way. Features that share a table share
    the kept rows.

    Raises:
        InputError: a feature makes one vector an id or has no ids, or blocks do not keep the same together.
    """
    cluster = max((segment.together for own in segments for segment in own), default=1)
    whole = [*segments, *([()] * (-len(segments) % cluster))]
    places, fullest = _places(vectors, whole)
    copies: list[bytes] = []
    served: list[bytes] = []
    copies_of, served_of = [], []
    for block, own in enumerate(whole):
        copied = [
            _copy(rows, place, block) for rows, place in places[block].items() if block % rows.together < place.kept
        ]
        some = [segment for segment in own if segment.stop > segment.first]
        copies += copied
        copies_of.append(len(copied))
        served_of.append(len(some))
        served += [_packed(one, vectors, places[block]) for one in sorted(some, key=lambda one: one.kept > 0)]
    firsts = [*accumulate(copies_of, initial=0), *accumulate(served_of, initial=0)]
    words = b"".join(copies) + b"".join(served) + struct.pack(f"<{len(firsts)}i", *firsts)
    return Owners(words, len(whole), -(-fullest // 128) * 128, cluster)


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

    Source: [ASYM] A3 (`l1`), A4 (asymmetric mapping); clusters are ours.

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
    room = ("ROOM_BYTES", str(gathering.room_bytes))
    program = Program("resident.cu", "resident", (*gathering.constants(output), room, ("CLUSTER", str(owned.cluster))))
    whole = fitting(arguments, len(vectors))
    return Launch(program, owned.blocks, tuning.threads, whole, shared_bytes, owned.cluster)


def _places(vectors: Sequence[Vectors], segments: Sequence[Sequence[Segment]]) -> tuple[list[_Kept], int]:
    """Of each block where its kept rows lie, and the bytes that the fullest one has.

    What blocks keep together lies at the same place in each, so it comes before what fewer keep.
    """
    wanted = [_wanted(vectors, own) for own in segments]
    places: list[_Kept] = [{} for _ in segments]
    ends = [0] * len(segments)
    for together in sorted({rows.together for own in wanted for rows in own}, reverse=True):
        for first in range(0, len(segments), together):
            group = range(first, first + together)
            for rows, kept in _common([wanted[block] for block in group], together).items():
                # As far from a multiple of 16 as in memory, so that whole pieces are copied and read.
                end = max(ends[block] for block in group)
                at = end + (_address(rows) - end) % 16
                for block in group:
                    places[block][rows] = _Place(at, kept)
                    ends[block] = at + -(-kept // together) * rows.table.stride_bytes + _SLACK_BYTES
    return places, max(ends, default=0)


def _common(wanted: Sequence[dict[_Rows, int]], together: int) -> dict[_Rows, int]:
    """What all blocks of a group keep together, and how many rows of each.

    Raises:
        InputError: some do not say so.
    """
    named = [{rows for rows in own if rows.together == together} for own in wanted]
    if any(own != named[0] for own in named):
        problem = f"{together} neighbouring blocks do not name the same rows to be kept together"
        raise InputError("lookup", problem, "Give each a segment, without samples where it serves none.")
    return {rows: max(own[rows] for own in wanted) for rows in wanted[0] if rows.together == together}


def _wanted(vectors: Sequence[Vectors], own: Sequence[Segment]) -> dict[_Rows, int]:
    """What one block keeps, and how many rows of each."""
    found: dict[_Rows, int] = {}
    for segment in own:
        one = vectors[segment.vectors]
        if one.mode in ("each", "identity"):
            raise InputError("lookup", f"mode '{one.mode}' has no bags to own", "Use `lookup` for it.")
        if not segment.kept:
            continue
        if one.rows.cut:
            raise InputError("lookup", "rows of a table that is cut cannot be kept", "Use `lookup` for it.")
        _check_together(segment, one.rows)
        rows = _Rows(one.rows, segment.start, segment.together)
        found[rows] = max(found.get(rows, 0), min(segment.kept, _served(segment, one.rows)))
    return found


def _check_together(segment: Segment, rows: StoredRows) -> None:
    together = segment.together
    if together not in (1, 2, 4, 8) or together > MOST_TOGETHER:
        raise InputError("lookup", f"{together} blocks cannot keep rows together", "Choose 1, 2, 4 or 8.")
    if together > 1 and rows.stride_bytes % 16:
        problem = f"rows that several blocks keep lie {rows.stride_bytes} bytes apart"
        raise InputError("lookup", problem, "Lay them out a multiple of 16 apart (`best_stride`).")


def _served(segment: Segment, rows: StoredRows) -> int:
    return segment.rows or rows.rows - segment.start


def _address(rows: _Rows) -> int:
    return rows.table.address + rows.start * rows.table.stride_bytes


def _copy(rows: _Rows, place: _Place, block: int) -> bytes:
    """What a block brings in: all rows in one run, or every `together`-th in one each."""
    stride, rank = rows.table.stride_bytes, block % rows.together
    if rows.together == 1:
        return _COPY.pack(_address(rows), 0, place.kept * stride, 1, place.at, 0)
    own = len(range(rank, place.kept, rows.together))
    return _COPY.pack(_address(rows) + rank * stride, rows.together * stride, stride, own, place.at, 0)


def _packed(segment: Segment, vectors: Sequence[Vectors], places: _Kept) -> bytes:
    table = vectors[segment.vectors].rows
    place = places[_Rows(table, segment.start, segment.together)] if segment.kept else _Place(0, 0)
    return _SEGMENT.pack(
        segment.vectors,
        segment.first,
        segment.stop,
        place.at,
        segment.start,
        _served(segment, table),
        min(place.kept, _served(segment, table)),
        segment.together.bit_length() - 1,
        int(segment.notes),
    )


def _parts(owned: Owners, words: int) -> tuple[int, int, int, int]:
    """Addresses of copies, segments, and the first of each block's."""
    firsts = 2 * (owned.blocks + 1)
    numbers = struct.unpack(f"<{firsts}i", owned.words[-4 * firsts :])
    copies, first_copy = numbers[owned.blocks], words + len(owned.words) - 4 * firsts
    return words, words + _COPY.size * copies, first_copy, first_copy + 4 * (owned.blocks + 1)
