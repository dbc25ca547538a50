"""Where tables lie: in the GPU's memory, and in pinned host memory what does not fit there; one is cut in two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsmith.cost.near import RESERVE_BYTES, near_rows
from recsmith.kernels.cuda.call import StoredRows, best_offset, best_stride
from recsmith.kernels.cuda.device import Device, Memory
from recsmith.spec import CapacityError, FormatError, InputError, Model, Progress, Table, Weights

_COPY_BYTES = 64 << 20
# Where rows begin behind a multiple of 16, and what is read behind the last one.
_SPARE_BYTES = 16
_DTYPES = {"fp32": np.float32, "fp16": np.float16, "bf16": np.uint16, "int8": np.uint8, "int4": np.uint8}


@dataclass(frozen=True, slots=True)
class PlacedTables:
    """All tables where kernels reach them.

    Attributes:
        rows: by table name.
        memories: keep them alive.
        device_bytes, host_bytes: taken of the GPU's memory and of pinned host memory.
    """

    rows: Mapping[str, StoredRows]
    memories: tuple[Memory, ...]
    device_bytes: int
    host_bytes: int

    def close(self) -> None:
        """Give the memory back."""
        for memory in self.memories:
            memory.close()


def place_tables(
    model: Model,
    weights: Weights,
    device: Device,
    asked: Mapping[str, float],
    *,
    device_bytes: int | None = None,
    profile: Mapping[str, NDArray[np.int64]] | None = None,
    progress: Progress | None = None,
) -> PlacedTables:
    """All tables copied, each once however many features share it.

    Where the GPU's memory does not hold all, tables that are asked for most by the byte lie there, and as much of the
    next one as there is room for; kernels read the rest from pinned host memory, across the bus.

    Args:
        asked: table name to look-ups a sample.
        device_bytes: of the GPU's memory for tables; what is free, less a reserve, when None.
        profile: table name to distinct ids, most asked first: which rows of the table that is cut lie on the GPU. Rows
            from 0 on without.
        progress: told the bytes copied.

    Raises:
        FormatError: the weights do not fit the model.
        InputError: a profile names ids outside its table, or twice.
        CapacityError: the host's memory does not hold the rest.
    """
    room = max(0, device.memory_bytes()[0] - RESERVE_BYTES) if device_bytes is None else device_bytes
    near = inside(model, asked, room)
    total, done, held = sum(map(room_bytes, model.tables)), 0, 0
    rows: dict[str, StoredRows] = {}
    memories: list[Memory] = []
    staging = device.pinned(_COPY_BYTES)
    try:
        for table in model.tables:
            array = stored(table, weights)
            count = near.get(table.name, 0)
            order = order_of(table, (profile or {}).get(table.name)) if 0 < count < table.rows else None
            rows[table.name] = _placed(device, table, array, count, order, memories, staging)
            held += part_bytes(table, count) if count else 0
            done += room_bytes(table)
            if progress is not None:
                progress("placing tables", done, total)
    finally:
        staging.close()
    return PlacedTables(rows, tuple(memories), held, total - held)


def inside(model: Model, asked: Mapping[str, float], room: int) -> dict[str, int]:
    """Table name to its rows that lie in the GPU's memory; see `cost.near.near_rows`."""
    return near_rows(model.tables, asked, room, part_bytes)


def order_of(table: Table, ids: NDArray[np.int64] | None) -> NDArray[np.int32] | None:
    """The place of each row when `ids` come first, in their order, and all others behind; None when that is no change.

    Raises:
        InputError: ids lie outside the table or come twice.
    """
    if ids is None or not len(ids):
        return None
    if ids.min() < 0 or ids.max() >= table.rows or len(np.unique(ids)) != len(ids):
        raise InputError("compile", f"the profile of table '{table.name}' repeats ids or leaves it", "Correct it.")
    places = np.full(table.rows, -1, np.int32)
    places[ids] = np.arange(len(ids), dtype=np.int32)
    rest = places < 0
    places[rest] = np.arange(len(ids), table.rows, dtype=np.int32)
    return places


def room_bytes(table: Table) -> int:
    """Bytes that a table takes with rows as kernels read them fastest."""
    return part_bytes(table, table.rows)


def part_bytes(table: Table, rows: int) -> int:
    """Bytes that some rows of a table take."""
    return rows * best_stride(table.dim, table.format.dtype) + _SPARE_BYTES


def stored(table: Table, weights: Weights) -> NDArray[np.generic]:
    """The table's array.

    Raises:
        FormatError: it is missing or of another shape or type.
    """
    array = weights.tables.get(table.name)
    if array is None:
        raise FormatError("compile", f"the weights have no table '{table.name}'", "Check the artifact.")
    if array.ndim != 2 or len(array) != table.rows or array.dtype != _DTYPES[table.format.dtype]:
        raise FormatError(
            "compile",
            f"table '{table.name}' is {array.dtype} {list(array.shape)}, wanted {table.rows} rows of "
            f"{table.format.dtype}",
            "Check the artifact.",
        )
    return array


def _placed(
    device: Device,
    table: Table,
    array: NDArray[np.generic],
    near: int,
    order: NDArray[np.int32] | None,
    memories: list[Memory],
    staging: Memory,
) -> StoredRows:
    """A table with its first `near` places on the GPU and the others on the host."""
    dtype, stride = table.format.dtype, best_stride(table.dim, table.format.dtype)
    rows_at = None if order is None else np.argsort(order, kind="stable")
    whole = StoredRows(0, table.rows, table.dim, dtype, stride)
    if near:
        memories.append(device.allocate(part_bytes(table, near)))
        address = memories[-1].address + best_offset(dtype)
        for start, block in _blocks(array, rows_at, range(near), staging.nbytes // stride):
            target: NDArray[np.uint8] = staging.array((len(block), stride), "uint8")
            _copy_rows(block, target)
            device.upload(address + start * stride, target)
            device.synchronize()
        whole = replace(whole, address=address)
    if near == table.rows:
        return whole
    memories.append(_pinned(device, table, table.rows - near))
    target = _as_rows(memories[-1], best_offset(dtype), table.rows - near, stride)
    for start, block in _blocks(array, rows_at, range(near, table.rows), _COPY_BYTES // stride):
        _copy_rows(block, target[start - near : start - near + len(block)])
    address = memories[-1].address + best_offset(dtype)
    if not near:
        return replace(whole, address=address)
    if order is None:
        return replace(whole, near=near, beyond=address)
    memories.append(device.place(order))
    return replace(whole, near=near, beyond=address, order=memories[-1].address)


def _blocks(
    array: NDArray[np.generic], rows_at: NDArray[np.int64] | None, places: range, step: int
) -> Iterator[tuple[int, NDArray[np.generic]]]:
    """The rows in `places`, a block at a time: its first place, and the rows."""
    for start in range(places.start, places.stop, max(1, step)):
        stop = min(start + max(1, step), places.stop)
        yield start, array[start:stop] if rows_at is None else array[rows_at[start:stop]]


def _pinned(device: Device, table: Table, rows: int) -> Memory:
    nbytes = part_bytes(table, rows)
    try:
        return device.pinned(nbytes)
    except CapacityError as error:
        raise CapacityError(
            "compile",
            f"{rows:,} rows of table '{table.name}' ({nbytes:,} bytes) fit neither the GPU's memory nor pinned host "
            "memory",
            "Hold it in fewer bits (recsmith convert), or as a DHE.",
        ) from error


def _copy_rows(block: NDArray[np.generic], target: NDArray[np.uint8]) -> None:
    source = np.ascontiguousarray(block).view(np.uint8).reshape(len(block), -1)
    width = min(source.shape[1], target.shape[1])
    target[:, :width] = source[:, :width]


def _as_rows(memory: Memory, skip: int, rows: int, stride: int) -> NDArray[np.uint8]:
    flat: NDArray[Any] = memory.array((memory.nbytes,), "uint8")
    return flat[skip : skip + rows * stride].reshape(rows, stride)
