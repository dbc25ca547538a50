"""One copy of the weights that all engines read, on pages of a chosen size."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsmith.reference import encode
from recsmith.spec import CapacityError, Model, Progress, Table, UnavailableError
from recsmith.spec.platform import Page

_HUGE_BYTES = 2 << 20
_FILL_BYTES = 8 << 20


class SharedTables:
    """Tables one after the other in one mapping, filled with numbers in [-1, 1).

    Args:
        model: whose tables to make.
        pages: `4k` or `huge` (transparent huge pages, asked for with madvise).

    Attributes:
        buffer: [bytes] uint8, without gaps between tables.
        tables: table name to its rows, views of `buffer`.

    Raises:
        CapacityError: the machine has not that much memory free.
        UnavailableError: huge pages are asked for and the system does not give them.
    """

    def __init__(self, model: Model, pages: Page, seed: int = 0, progress: Progress | None = None) -> None:
        _check_room(model)
        self._pages = pages
        self.buffer = _mapped(model.nbytes, pages)
        self.tables: dict[str, NDArray[np.generic]] = {}
        rng = np.random.Generator(np.random.SFC64(seed))
        start = 0
        for table in model.tables:
            self.tables[table.name] = _view(self.buffer[start : start + table.nbytes], table)
            _fill(self.tables[table.name], table, rng)
            start += table.nbytes
            if progress:
                progress("filling tables", start, model.nbytes)
        if pages == "huge" and model.nbytes > 4 * _HUGE_BYTES and self.huge_share < 0.5:
            raise UnavailableError(
                "bench",
                f"the system put only {self.huge_share:.0%} of the tables on huge pages",
                "Set /sys/kernel/mm/transparent_hugepage/enabled to madvise, free memory, or use --pages 4k.",
            )

    @property
    def huge_share(self) -> float:
        """The part of the tables that lies on huge pages, as the system tells."""
        address, inside, huge = self.buffer.ctypes.data, False, 0
        for line in Path("/proc/self/smaps").read_text().splitlines():
            if "-" in line.split(" ", 1)[0] and not line.split(" ", 1)[0].endswith(":"):
                low, high = (int(part, 16) for part in line.split(" ", 1)[0].split("-"))
                inside = low < address + self.buffer.nbytes and address < high
            elif inside and line.startswith("AnonHugePages:"):
                huge += int(line.split()[1]) * 1024
        return min(1.0, huge / max(1, self.buffer.nbytes))


def _check_room(model: Model) -> None:
    import psutil

    free = psutil.virtual_memory().available
    if model.nbytes > 0.9 * free:
        raise CapacityError(
            "bench",
            f"the tables of '{model.name}' take {model.nbytes:,} bytes; {free:,} are free",
            f"Cut them with --max-bytes {int(free * 0.8)}.",
        )


def _mapped(nbytes: int, pages: Page) -> NDArray[np.uint8]:
    # Private: pages of a shared mapping would follow the settings for files in memory.
    region = mmap.mmap(-1, max(1, nbytes) + _HUGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    region.madvise(mmap.MADV_HUGEPAGE if pages == "huge" else mmap.MADV_NOHUGEPAGE)
    whole = np.frombuffer(region, dtype=np.uint8)
    skip = -whole.ctypes.data % _HUGE_BYTES
    return whole[skip : skip + nbytes]


def _view(raw: NDArray[np.uint8], table: Table) -> NDArray[np.generic]:
    kinds = {"fp32": np.float32, "fp16": np.float16, "bf16": np.uint16}
    kind = kinds.get(table.format.dtype)
    return raw.reshape(table.rows, -1) if kind is None else raw.view(kind).reshape(table.rows, table.dim)


def _fill(rows_ME: NDArray[np.generic], table: Table, rng: np.random.Generator) -> None:
    step = max(1, _FILL_BYTES // (table.dim * 4))
    for start in range(0, table.rows, step):
        part = rows_ME[start : start + step]
        values = rng.random((len(part), table.dim), dtype=np.float32)
        values *= 2
        values -= 1
        part[:] = encode(values, table.format)
