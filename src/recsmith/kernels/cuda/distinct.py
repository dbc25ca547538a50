"""The different ids of computed tables, each noted once, before their rows are computed."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import UnavailableError

from .call import Ids, Vectors
from .gathering import fitting, index_constants
from .packing import packed_feature, packed_ids
from .program import Launch, Program

_THREADS = 256
_MOST_BLOCKS = 32
_MOST_ROWS = 1 << 47
_MOST_NUMBERS = 1 << 31


@dataclass(frozen=True, slots=True)
class Noted:
    """What becomes of one feature's ids.

    Attributes:
        vectors: says which ids they are, how many rows their table has, and what becomes of those outside.
        table: the table's place among `counts`.
        ids, numbers: addresses of int64 and int32: its different ids, and the numbers of their rows among those
            computed.
        kept: address of what `packed_kept` gave of the ids whose rows are finished, a multiple of 16; 0 without any.
        kept_slots: its length.
        first: the number that the first computed row has for look-ups, 1 or one more than finished rows there are.
    """

    vectors: Vectors
    table: int
    ids: int
    numbers: int
    kept: int = 0
    kept_slots: int = 0
    first: int = 1


def slots_for(ids: int) -> int:
    """Places of a hash table for so many ids, at least half of them empty: a power of two."""
    return 1 << max(5, (2 * ids - 1).bit_length())


def packed_kept(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The hash table [S, 2] in which the kernel finds distinct `ids`: an id + 1, and its place among them + 1."""
    table = np.zeros((slots_for(len(ids)), 2), np.int64)
    left = np.arange(len(ids))
    places = (_mixed(ids + 1) & np.uint64(len(table) - 1)).astype(np.int64)
    while len(left):
        free = left[table[places[left], 0] == 0]
        chosen = free[np.unique(places[free], return_index=True)[1]]
        table[places[chosen], 0], table[places[chosen], 1] = ids[chosen] + 1, chosen + 1
        left = np.setdiff1d(left, chosen, assume_unique=True)
        places[left] = (places[left] + 1) % len(table)
    return table


def distinct(noted: Sequence[Noted], ids: Ids, keys: int, slots: int, counts: int) -> Launch:
    """The launch that puts numbers of rows in the place of ids and lists each different id of a table once. Ours.

    Number 0 stands for padding and for ids that are an error; computed rows are numbered from `first` on. Which number
    an id gets depends on the order in which threads come; what is computed for it does not. Ids whose rows are finished
    are not listed; they get the number of that row.

    Args:
        keys: address of `slots` uint64, zeros.
        slots: a power of two above the number of ids, see `slots_for`.
        counts: address of an int32 a table, zeros: how many different ids there are.

    Raises:
        UnavailableError: a table has more rows than 2^47, or more than 2^31 are finished and computed.
        CapacityError: more features than one launch takes.
    """
    if any(one.vectors.rows.rows > _MOST_ROWS for one in noted):
        raise UnavailableError("decode", "a table has more than 2^47 rows", "Map its ids to fewer.")
    if any(one.first + slots > _MOST_NUMBERS for one in noted):
        raise UnavailableError("decode", "finished and computed rows are more than 2^31", "Keep fewer rows.")
    room = ids.length or ids.batch
    blocks = min(_MOST_BLOCKS, ceil(room / _THREADS))
    arguments = packed_ids(ids) + struct.pack("<QQQ", ids.values, keys, counts)
    for one in noted:
        arguments += packed_feature(one.vectors) + struct.pack(
            "<qQQQQq", one.table, one.ids, one.numbers, one.kept, max(0, one.kept_slots - 1), one.first
        )
    constants = (
        *index_constants(ids),
        ("FEATURES", str(len(noted))),
        ("THREADS", str(_THREADS)),
        ("BLOCKS", str(blocks)),
        ("SLOTS", f"{slots}ull"),
    )
    program = Program("distinct.cu", "distinct", constants)
    return Launch(program, blocks * len(noted), _THREADS, fitting(arguments, len(noted)))


def _mixed(x: NDArray[np.int64]) -> NDArray[np.uint64]:
    """As distinct.cu mixes the bits of a key."""
    bits = x.astype(np.uint64)
    bits = (bits ^ bits >> np.uint64(31)) * np.uint64(0x9E3779B97F4A7C15)
    return bits ^ bits >> np.uint64(29)
