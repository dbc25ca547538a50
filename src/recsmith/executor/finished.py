"""All rows of a table, whatever it is held as. M rows, E dim."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsmith.kernels.cpu import choose_target
from recsmith.reference import decode, encode
from recsmith.spec import CapacityError, Progress, Table, Weights

from .memory import free_bytes
from .rows import row_maker

_BLOCK = 1 << 15


def finished_rows(table: Table, weights: Weights, progress: Progress | None = None) -> NDArray[np.float32]:
    """[M, E]: what a look-up of each id yields; computed rows bit for bit as `compile` finishes them in float32.

    Raises:
        CapacityError: they do not fit in memory.
        UnavailableError: rows are computed by torch and it is not installed.
    """
    _check_room(table, table.dim * 4)
    out_ME = np.empty((table.rows, table.dim), np.float32)
    maker = None
    if table.computed is not None:
        maker = row_maker(table, weights.of(table.name), choose_target("auto"))
    for start in range(0, table.rows, _BLOCK):
        stop = min(start + _BLOCK, table.rows)
        if maker is None:
            out_ME[start:stop] = decode(weights.tables[table.name][start:stop], table)
        else:
            maker.write(np.arange(start, stop), out_ME[start:stop])
        if progress is not None:
            progress(f"rows of {table.name}", stop, table.rows)
    return out_ME


def stored_rows(table: Table, rows_ME: NDArray[np.float32]) -> NDArray[np.generic]:
    """`rows_ME` in the format of `table`, as `Weights.tables` keeps them.

    Raises:
        CapacityError: they do not fit in memory.
    """
    if table.format.dtype == "fp32":
        return rows_ME
    first = encode(rows_ME[:1], table.format)
    _check_room(table, first.nbytes)
    out = np.empty((table.rows, first.shape[1]), first.dtype)
    for start in range(0, table.rows, _BLOCK):
        out[start : start + _BLOCK] = encode(rows_ME[start : start + _BLOCK], table.format)
    return out


def _check_room(table: Table, row_bytes: int) -> None:
    needed, free = table.rows * row_bytes, free_bytes()
    if needed > free:
        raise CapacityError(
            "convert",
            f"the rows of table '{table.name}' take {needed:,} bytes; {free:,} are free",
            "Convert fewer features, or on a larger machine.",
        )
