"""How the threads of a warp share a row: decided on the host, compiled into the kernel."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from recsmith.spec import RowDtype

from .call import HEADER_BYTES, ROW_TYPES, Ids, Vectors, check_rows, quantised

_BITS = {"fp32": 32, "fp16": 16, "bf16": 16, "int8": 8, "int4": 4}
# int4 codes fill eight registers a word; larger pieces would take too many.
_LARGEST_PIECE = {"fp32": 16, "fp16": 16, "bf16": 16, "int8": 16, "int4": 8}
WARP = 32


@dataclass(frozen=True, slots=True, order=True)
class Recipe:
    """What a kernel must know about rows when it is compiled. Rows are read in pieces, `lanes` threads side by side.

    Attributes:
        piece: bytes a thread reads at once.
        lanes: threads that share a row, a power of two.
        single: every bag holds exactly one id.
        cut: rows lie in two places.
    """

    dtype: RowDtype
    dim: int
    piece: int
    lanes: int
    single: bool
    weighted: bool
    far: bool
    cut: bool = False

    @property
    def pieces(self) -> int:
        """Pieces of a row."""
        return ceil(self.dim * _BITS[self.dtype] / (8 * self.piece))

    @property
    def values(self) -> int:
        """Elements that a thread holds of a row, at most (of four pieces: longer rows are read in several turns)."""
        return min(4, ceil(self.pieces / self.lanes)) * max(1, self.piece * 8 // _BITS[self.dtype])

    def macro(self, name: str, *before: int) -> str:
        """The recipe's line in a program's constants."""
        flags = (self.single, self.weighted, self.far, self.cut)
        numbers = (*before, ROW_TYPES[self.dtype], self.dim, self.piece, self.lanes, *(int(flag) for flag in flags))
        return f"{name}({', '.join(map(str, numbers))})"


def recipe_of(vectors: Vectors, ids: Ids) -> Recipe:
    """How the rows of `vectors` are read, as wide as their addresses allow.

    Raises:
        InputError: rows overlap, or elements are not aligned.
    """
    rows = vectors.rows
    check_rows(rows)
    header = HEADER_BYTES if quantised(rows.dtype) else 0
    first, behind = rows.address + header, rows.beyond + header if rows.cut else 0
    piece = _LARGEST_PIECE[rows.dtype]
    while first % piece or behind % piece or rows.stride_bytes % piece:
        piece //= 2
    pieces = ceil(rows.dim * _BITS[rows.dtype] / (8 * piece))
    single = vectors.mode in ("each", "identity") or not ids.offsets
    return Recipe(rows.dtype, rows.dim, piece, _lanes(pieces), single, vectors.weighted, vectors.far, rows.cut)


def _lanes(pieces: int) -> int:
    return min(WARP, 1 << (pieces - 1).bit_length())
