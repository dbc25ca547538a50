"""Where tables lie: in the GPU's memory, and in pinned host memory what does not fit there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsmith.kernels.cuda.call import StoredRows, best_offset, best_stride
from recsmith.kernels.cuda.device import Device, Memory
from recsmith.spec import CapacityError, FormatError, Model, Progress, Table, Weights

RESERVE_BYTES = 2 << 30
"""Of the GPU's memory, left to batches, graphs and dense parts."""
_COPY_BYTES = 64 << 20
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
    progress: Progress | None = None,
) -> PlacedTables:
    """All tables copied, each once however many features share it.

    Where the GPU's memory does not hold all, tables that are asked for most by the byte lie there; kernels read the
    others from pinned host memory, across the bus.

    Args:
        asked: table name to look-ups a sample.
        device_bytes: of the GPU's memory for tables; what is free, less a reserve, when None.
        progress: told the bytes copied.

    Raises:
        FormatError: the weights do not fit the model.
        CapacityError: the host's memory does not hold the rest.
    """
    room = max(0, device.memory_bytes()[0] - RESERVE_BYTES) if device_bytes is None else device_bytes
    near = inside(model, asked, room)
    total, done = sum(map(room_bytes, model.tables)), 0
    rows: dict[str, StoredRows] = {}
    memories: list[Memory] = []
    staging = device.pinned(_COPY_BYTES)
    try:
        for table in model.tables:
            array = stored(table, weights)
            memory = _take(device, table, near=table.name in near)
            memories.append(memory)
            address = memory.address + best_offset(table.format.dtype)
            stride = best_stride(table.dim, table.format.dtype)
            rows[table.name] = StoredRows(address, table.rows, table.dim, table.format.dtype, stride)
            if table.name in near:
                _upload(device, rows[table.name], array, staging)
            else:
                _copy(array, _as_rows(memory, rows[table.name]), table)
            done += room_bytes(table)
            if progress is not None:
                progress("placing tables", done, total)
    finally:
        staging.close()
    held = sum(room_bytes(table) for table in model.tables if table.name in near)
    return PlacedTables(rows, tuple(memories), held, total - held)


def inside(model: Model, asked: Mapping[str, float], room: int) -> set[str]:
    """Names of the tables that lie in the GPU's memory: those with most look-ups a byte, as long as there is room."""
    found: set[str] = set()
    for table in sorted(model.tables, key=lambda t: -asked.get(t.name, 0.0) / room_bytes(t)):
        if room_bytes(table) <= room:
            found.add(table.name)
            room -= room_bytes(table)
    return found


def room_bytes(table: Table) -> int:
    """Bytes that a table takes with rows as kernels read them fastest."""
    return table.rows * best_stride(table.dim, table.format.dtype) + 16


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


def _take(device: Device, table: Table, *, near: bool) -> Memory:
    nbytes = room_bytes(table)
    if near:
        return device.allocate(nbytes)
    try:
        return device.pinned(nbytes)
    except CapacityError as error:
        raise CapacityError(
            "compile",
            f"table '{table.name}' ({nbytes:,} bytes) fits neither the GPU's memory nor pinned host memory",
            "Hold it in fewer bits (recsmith convert), or as a DHE.",
        ) from error


def _upload(device: Device, placed: StoredRows, array: NDArray[np.generic], staging: Memory) -> None:
    """Rows through pinned memory, a block at a time, each row at its own stride."""
    step = max(1, staging.nbytes // placed.stride_bytes)
    for start in range(0, placed.rows, step):
        block = array[start : start + step]
        target: NDArray[np.uint8] = staging.array((len(block), placed.stride_bytes), "uint8")
        _copy_rows(block, target)
        device.upload(placed.address + start * placed.stride_bytes, target)
        device.synchronize()


def _copy(array: NDArray[np.generic], target: NDArray[np.uint8], table: Table) -> None:
    step = max(1, _COPY_BYTES // target.shape[1])
    for start in range(0, table.rows, step):
        _copy_rows(array[start : start + step], target[start : start + step])


def _copy_rows(block: NDArray[np.generic], target: NDArray[np.uint8]) -> None:
    source = np.ascontiguousarray(block).view(np.uint8).reshape(len(block), -1)
    width = min(source.shape[1], target.shape[1])
    target[:, :width] = source[:, :width]


def _as_rows(memory: Memory, placed: StoredRows) -> NDArray[np.uint8]:
    skip = placed.address - memory.address
    flat: NDArray[Any] = memory.array((memory.nbytes,), "uint8")
    return flat[skip : skip + placed.rows * placed.stride_bytes].reshape(placed.rows, placed.stride_bytes)
