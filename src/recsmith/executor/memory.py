"""Where the tables of an executable lie: copied into an arena, or read where the caller has them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
from msgspec.structs import replace
from numpy.typing import NDArray

import recsmith._native as _native
from recsmith.spec import CapacityError, FormatError, Model, Plan, Platform, Progress, Table, Weights

Pages = Literal["huge", "4k", "file", "borrow"]
_DTYPES = {"fp32": np.float32, "fp16": np.float16, "bf16": np.uint16, "int8": np.uint8, "int4": np.uint8}
_LESS = "Free memory, store rows in fewer bits (recsmith convert --to int8), or compile with pages='file'."
_LINE_BYTES = 64
_COPY_BYTES = 64 << 20
# What is left to everything else on the machine.
_RESERVE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Placed:
    """A table's rows in memory: address of row 0 and bytes from one row to the next."""

    address: int
    stride_bytes: int


@dataclass(frozen=True, slots=True)
class TableMemory:
    """All tables in memory.

    Attributes:
        placed: by table name.
        owner: keeps the memory alive.
        nbytes: bytes copied, each table once however many features share it; 0 when read in place.
    """

    placed: Mapping[str, Placed]
    owner: Any
    nbytes: int

    def huge_bytes(self) -> int:
        """Bytes of it that are on huge pages now."""
        return int(self.owner.huge_bytes()) if isinstance(self.owner, _native.Arena) else 0


@dataclass(frozen=True, slots=True)
class Room:
    """Memory for a model's tables, to be written to.

    Attributes:
        arena: what it belongs to.
        starts: table name to its first byte.
    """

    arena: Any
    starts: Mapping[str, int]
    nbytes: int

    def address(self, table: str) -> int:
        """Where row 0 of the table lies."""
        return int(self.arena.address) + self.starts[table]


def place_tables(
    model: Model,
    weights: Weights,
    plan: Plan,
    platform: Platform,
    pages: Pages,
    threads: int,
    progress: Progress | None,
    live: frozenset[str] = frozenset(),
) -> TableMemory:
    """The model's tables in memory of the wanted kind.

    Args:
        pages: `huge` and `4k` copy the rows into an arena of such pages; `file` and `borrow` read the given arrays
            where they are (a memory map, or memory that others read too).
        threads: that copy.
        progress: told the bytes copied.
        live: tables that are written to while they serve; read where they are whatever `pages` says.

    Raises:
        FormatError: an array is missing, or of another type or shape than its table.
        CapacityError: the copy would not fit in memory.
    """
    arrays = {table.name: _checked(table, weights) for table in model.tables}
    if pages in ("file", "borrow"):
        placed = {name: Placed(array.ctypes.data, array.strides[0]) for name, array in arrays.items()}
        return TableMemory(placed, tuple(arrays.values()), 0)
    here = {name: Placed(arrays[name].ctypes.data, arrays[name].strides[0]) for name in live}
    fixed = replace(model, tables=tuple(table for table in model.tables if table.name not in live))
    made = _copied(fixed, arrays, plan, platform, pages, threads, progress)
    return TableMemory({**made.placed, **here}, made.owner, made.nbytes) if live else made


def free_bytes() -> int:
    """Memory that can still be taken: what the system has available, and no more than the control group allows."""
    available = int(psutil.virtual_memory().available)
    for limit_file, used_file in _CGROUP_FILES:
        try:
            limit = int(Path(limit_file).read_text())
            used = int(Path(used_file).read_text())
        except (OSError, ValueError):  # no such group, or "max"
            continue
        available = min(available, limit - used)
    return available


_CGROUP_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def _checked(table: Table, weights: Weights) -> NDArray[np.generic]:
    array = weights.tables.get(table.name)
    if array is None:
        raise FormatError("compile", f"the weights have no table '{table.name}'", "Check the checkpoint.")
    wanted_dtype = np.dtype(_DTYPES[table.format.dtype])
    columns = table.format.stride_bytes(table.dim) if table.format.quantised else table.dim
    if array.dtype != wanted_dtype or array.shape != (table.rows, columns):
        raise FormatError(
            "compile",
            f"table '{table.name}' is {array.dtype} {list(array.shape)}, wanted {wanted_dtype} "
            f"[{table.rows}, {columns}] for {table.format.dtype} rows",
            "Import the checkpoint again.",
        )
    if array.shape[1] > 1 and array.strides[1] != array.itemsize:
        raise FormatError("compile", f"table '{table.name}' has columns that are not adjacent", "Copy it to C order.")
    if array.strides[0] < columns * array.itemsize and table.rows > 1:
        raise FormatError("compile", f"table '{table.name}' has rows that overlap or run backwards", "Copy it.")
    return array


def _copied(
    model: Model,
    arrays: Mapping[str, NDArray[np.generic]],
    plan: Plan,
    platform: Platform,
    pages: Pages,
    threads: int,
    progress: Progress | None,
) -> TableMemory:
    room = room_for(model, plan, platform, pages, _LESS)
    done = 0
    for table in model.tables:
        for count in _copy(room.arena, room.starts[table.name], table, arrays[table.name], threads):
            done += count
            if progress is not None:
                progress("copying tables", done, model.nbytes)
    placed = {
        table.name: Placed(room.address(table.name), table.format.stride_bytes(table.dim)) for table in model.tables
    }
    return TableMemory(placed, room.arena, room.nbytes)


def room_for(model: Model, plan: Plan, platform: Platform, pages: Pages, remedy: str) -> Room:
    """Memory for the model's tables, each on the node of the cores that `plan` lets serve it.

    Args:
        pages: `huge` or `4k`.
        remedy: what the reader of the error can do.

    Raises:
        CapacityError: there is not as much.
    """
    starts, needed = {}, 0
    for table in model.tables:
        starts[table.name] = needed
        needed += -(-table.nbytes // _LINE_BYTES) * _LINE_BYTES
    free = free_bytes() - _RESERVE_BYTES
    if needed > free:
        raise CapacityError(
            "compile",
            f"model '{model.name}' needs {needed:,} bytes of memory for its tables; {max(free, 0):,} are free",
            remedy,
        )
    # The reserve beyond the last row lets kernels read whole vectors.
    arena = _native.Arena(needed + _LINE_BYTES, huge=pages == "huge")
    nodes = _nodes(plan, platform)
    for table in model.tables:
        if table.name in nodes:
            arena.place(starts[table.name], table.nbytes, nodes[table.name])
    return Room(arena, starts, needed)


def _copy(arena: Any, start: int, table: Table, array: NDArray[np.generic], threads: int) -> Any:
    """Copies piece by piece; yields the bytes of each."""
    stride = table.format.stride_bytes(table.dim)
    rows_at_once = max(1, _COPY_BYTES // stride)
    for row in range(0, table.rows, rows_at_once):
        count = min(rows_at_once, table.rows - row)
        source = array.ctypes.data + row * array.strides[0]
        row_bytes = array.shape[1] * array.itemsize
        arena.copy(start + row * stride, stride, source, array.strides[0], row_bytes, count, threads)
        yield count * stride


def _nodes(plan: Plan, platform: Platform) -> dict[str, int]:
    """Table name to the NUMA node it should lie on, -1 for spread; empty on machines with one node."""
    rams = [memory for memory in platform.memories if memory.kind == "ram"]
    if len(rams) < 2:
        return {}
    users: dict[str, set[str]] = {}
    for placement in _all_placements(plan):
        users.setdefault(placement.shard.table, set()).update(placement.cores)
    found = {}
    for table, cores in users.items():
        near = [ram.id for ram in rams if cores <= set(ram.cores)]
        number = re.search(r"node(\d+)", near[0]) if near else None
        found[table] = int(number.group(1)) if number else -1
    return found


def _all_placements(plan: Plan) -> Sequence[Any]:
    return [placement for bucket in plan.buckets for stage in bucket.stages for placement in stage.placements]
