"""The different ids of computed tables, each noted once, before their rows are computed."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from recsmith.spec import UnavailableError

from .call import Ids, Vectors
from .gathering import fitting, index_constants
from .packing import packed_feature, packed_ids
from .program import Launch, Program

_THREADS = 256
_MOST_BLOCKS = 32
_MOST_ROWS = 1 << 47


@dataclass(frozen=True, slots=True)
class Noted:
    """What becomes of one feature's ids.

    Attributes:
        vectors: says which ids they are, how many rows their table has, and what becomes of those outside.
        table: the table's place among `counts`.
        ids, numbers: addresses of int64 and int32: its different ids, and the numbers of their rows.
    """

    vectors: Vectors
    table: int
    ids: int
    numbers: int


def slots_for(ids: int) -> int:
    """Places of a hash table for so many ids, at least half of them empty: a power of two."""
    return 1 << max(5, (2 * ids - 1).bit_length())


def distinct(noted: Sequence[Noted], ids: Ids, keys: int, slots: int, counts: int) -> Launch:
    """The launch that puts numbers of rows in the place of ids and lists each different id of a table once. Ours.

    Number 0 stands for padding and for ids that are an error; rows are numbered from 1 to `slots`. Which number an id
    gets depends on the order in which threads come; what is computed for it does not.

    Args:
        keys: address of `slots` uint64, zeros.
        slots: a power of two above the number of ids, see `slots_for`.
        counts: address of an int32 a table, zeros: how many different ids there are.

    Raises:
        UnavailableError: a table has more rows than 2^47.
        CapacityError: more features than one launch takes.
    """
    if any(one.vectors.rows.rows > _MOST_ROWS for one in noted):
        raise UnavailableError("decode", "a table has more than 2^47 rows", "Map its ids to fewer.")
    room = ids.length or ids.batch
    blocks = min(_MOST_BLOCKS, ceil(room / _THREADS))
    arguments = packed_ids(ids) + struct.pack("<QQQ", ids.values, keys, counts)
    for one in noted:
        arguments += packed_feature(one.vectors) + struct.pack("<qQQ", one.table, one.ids, one.numbers)
    constants = (
        *index_constants(ids),
        ("FEATURES", str(len(noted))),
        ("THREADS", str(_THREADS)),
        ("BLOCKS", str(blocks)),
        ("SLOTS", f"{slots}ull"),
    )
    program = Program("distinct.cu", "distinct", constants)
    return Launch(program, blocks * len(noted), _THREADS, fitting(arguments, len(noted)))
