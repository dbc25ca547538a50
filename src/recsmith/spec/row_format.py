"""How one row of a table is stored."""

from __future__ import annotations

from typing import Literal

from .record import Record

RowDtype = Literal["fp32", "fp16", "bf16", "int8", "int4"]

_BITS: dict[str, int] = {"fp32": 32, "fp16": 16, "bf16": 16, "int8": 8, "int4": 4}
_HEADER_BYTES = 4


class RowFormat(Record, frozen=True):
    """Number format and memory layout of a table's rows.

    `int8` and `int4` rows begin with a header of two fp16 numbers, scale and bias, followed by unsigned
    codes; element = code * scale + bias. int4 packs two codes a byte, the even element in the low half.
    (The layout FBGEMM's n-bit tables use, so both can read one copy.)

    Attributes:
        dtype: number format of the elements.
        align_bytes: rows start at multiples of this; 1 packs them.
    """

    dtype: RowDtype = "fp32"
    align_bytes: int = 1

    @property
    def quantised(self) -> bool:
        """Whether rows carry a scale and bias header."""
        return self.dtype in ("int8", "int4")

    def row_bytes(self, dim: int) -> int:
        """Bytes that one look-up of a row of `dim` elements has to read."""
        header = _HEADER_BYTES if self.quantised else 0
        return header + (dim * _BITS[self.dtype] + 7) // 8

    def elements(self, row_bytes: int) -> int:
        """Elements of a row that takes so many bytes."""
        header = _HEADER_BYTES if self.quantised else 0
        return (row_bytes - header) * 8 // _BITS[self.dtype]

    def stride_bytes(self, dim: int) -> int:
        """Distance in bytes between the starts of neighbouring rows."""
        return -(-self.row_bytes(dim) // self.align_bytes) * self.align_bytes
