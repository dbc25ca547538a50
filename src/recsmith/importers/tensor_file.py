"""The safetensors file format, read as a memory map and written as a stream.

A file is the header's length (8 bytes, little endian), the header (JSON: name to dtype, shape and byte range),
then the tensors' bytes without gaps. The safetensors package is not used here because its NumPy reader copies
and knows no bfloat16; the files are the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import FormatError

Array = NDArray[np.generic]

DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("bool"),
}
# A full cache line, so that rows that are whole lines long do not straddle two.
_ALIGN_BYTES = 64
_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100 << 20
_CHUNK_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Stored:
    """An array and the dtype name of its file; BF16 arrays hold their bit patterns as uint16."""

    dtype: str
    array: Array


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def read(path: Path) -> dict[str, Stored]:
    """The tensors of a safetensors file as read-only views of its memory map; no tensor byte is read.

    Raises:
        FormatError: the file is absent, truncated, or its header contradicts itself or the file's size.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            entries, data_start = _read_header(file.read, size, path)
    except OSError as error:
        raise FormatError("read", f"cannot open '{path}': {error.strerror}", "Check the path.") from error
    _check_ranges(entries, size - data_start, path)
    if size == data_start:
        return {e.name: Stored(e.dtype, np.zeros(e.shape, DTYPES[e.dtype])) for e in entries}
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=data_start)
    return {
        e.name: Stored(e.dtype, np.asarray(data[e.start : e.stop]).view(DTYPES[e.dtype]).reshape(e.shape))
        for e in entries
    }


def write(path: Path, tensors: Mapping[str, Stored], wrote: Callable[[int], None] | None = None) -> None:
    """Write `tensors` to `path` chunk by chunk; `wrote` is told the bytes of each chunk.

    Tensors with larger elements come first, which keeps all of them aligned.
    """
    order = sorted(tensors, key=lambda name: -tensors[name].array.itemsize)
    header: dict[str, object] = {}
    at = 0
    for name in order:
        stored = tensors[name]
        stop = at + stored.array.nbytes
        header[name] = {"dtype": stored.dtype, "shape": list(stored.array.shape), "data_offsets": [at, stop]}
        at = stop
    text = json.dumps(header).encode()
    text += b" " * (-(_LENGTH_BYTES + len(text)) % _ALIGN_BYTES)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(_LENGTH_BYTES, "little") + text)
        for name in order:
            whole = np.atleast_1d(tensors[name].array)
            for part in chunks(whole):
                chunk = np.ascontiguousarray(whole[part])
                file.write(chunk.data.cast("B"))
                if wrote is not None:
                    wrote(chunk.nbytes)


def chunks(array: Array) -> list[slice]:
    """Ranges of the first axis of at most a few MiB each, so that a pass over a table needs little memory."""
    step = max(1, _CHUNK_BYTES // max(1, array.nbytes // max(1, len(array))))
    return [slice(start, min(start + step, len(array))) for start in range(0, len(array), step)]


def _read_header(read_bytes: Callable[[int], bytes], size: int, path: Path) -> tuple[list[_Entry], int]:
    length = int.from_bytes(read_bytes(_LENGTH_BYTES), "little")
    if size < _LENGTH_BYTES or length > min(_MAX_HEADER_BYTES, size - _LENGTH_BYTES):
        raise FormatError(
            "read",
            f"'{path}' is not a safetensors file, or is truncated: {size:,} bytes, header of {length:,} bytes",
            "Copy or save the file again.",
        )
    try:
        header = json.loads(read_bytes(length))
        header.pop("__metadata__", None)
        entries = [_entry(name, fields) for name, fields in header.items()]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FormatError(
            "read", f"'{path}' has no readable safetensors header: {error!r}", "Copy or save the file again."
        ) from error
    for entry in entries:
        if entry.dtype not in DTYPES:
            raise FormatError(
                "read",
                f"'{path}': tensor '{entry.name}' has dtype {entry.dtype}",
                f"Readable dtypes: {', '.join(DTYPES)}.",
            )
    return entries, _LENGTH_BYTES + length


def _entry(name: str, fields: Mapping[str, Any]) -> _Entry:
    start, stop = fields["data_offsets"]
    return _Entry(name, str(fields["dtype"]), tuple(int(n) for n in fields["shape"]), int(start), int(stop))


def _check_ranges(entries: list[_Entry], data_bytes: int, path: Path) -> None:
    at = 0
    for entry in sorted(entries, key=lambda e: (e.start, e.stop)):
        wanted = prod(entry.shape) * DTYPES[entry.dtype].itemsize
        if min(entry.shape, default=0) < 0 or entry.stop - entry.start != wanted or entry.start != at:
            raise FormatError(
                "read",
                f"'{path}': tensor '{entry.name}' {entry.dtype} {list(entry.shape)} needs {wanted:,} bytes from "
                f"byte {at:,}, but its header says bytes {entry.start:,} to {entry.stop:,}",
                "The header is damaged; copy or save the file again.",
            )
        at = entry.stop
    if at != data_bytes:
        cause = "truncated" if at > data_bytes else "followed by foreign bytes"
        raise FormatError(
            "read",
            f"'{path}' is {cause}: its header describes {at:,} bytes of tensors, the file holds {data_bytes:,}",
            "Copy or save the file again.",
        )
