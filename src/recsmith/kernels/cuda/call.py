"""What a launch is told, in the words of the kernels: rows, bags, ids, where vectors go. Never plans.

All addresses are the GPU's (or of pinned host memory); they must stay valid until the launch has run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recsmith.spec import InputError, RowDtype
from recsmith.spec.model import IdPolicy

IndexType = Literal["int32", "int64"]
OutputType = Literal["fp32", "fp16", "bf16"]
Mode = Literal["sum", "mean", "each", "identity"]

ROW_TYPES: dict[RowDtype, int] = {"fp32": 0, "fp16": 1, "bf16": 2, "int8": 3, "int4": 4}
MODES: dict[Mode, int] = {"sum": 0, "mean": 1, "each": 2, "identity": 3}
POLICIES: dict[IdPolicy | Literal["modulo"], int] = {"error": 0, "clamp": 1, "wrap": 2, "default": 3, "modulo": 4}
ELEMENT_BYTES: dict[OutputType, int] = {"fp32": 4, "fp16": 2, "bf16": 2}
HEADER_BYTES = 4


@dataclass(frozen=True, slots=True)
class StoredRows:
    """A table on the GPU, as `RowFormat` describes it.

    Kernels read pieces of up to 16 bytes, as alignment lets them: fastest are a `stride_bytes` that is a multiple of 16
    (`best_stride`) and an `address` that is one for fp32, fp16 and bf16, and 12 more than one for int8 and int4, whose
    codes begin after a header of 4 bytes (`best_offset`). `rows * stride_bytes` bytes must be allocated, and 4 more for
    int8 and int4 (`best_bytes`): what is behind a row's end is read, though never used.

    A table may be cut in two: rows in the first `near` places at `address`, the others at `beyond`, in pinned host
    memory say, both aligned alike.

    Attributes:
        address: of the first row, its header included.
        near: places at `address`, of a table that is cut.
        beyond: address of the first row behind them; 0 when the table is not cut.
        order: address of int32, the place of each row; 0 when they are in order. Only of a table that is cut.
    """

    address: int
    rows: int
    dim: int
    dtype: RowDtype
    stride_bytes: int
    near: int = 0
    beyond: int = 0
    order: int = 0

    @property
    def cut(self) -> bool:
        """Whether rows lie in two places."""
        return self.beyond != 0


@dataclass(frozen=True, slots=True)
class Vectors:
    """One feature's look-ups and where its vectors go.

    Attributes:
        number: the feature's place in the ids.
        mode: `sum` and `mean` make one vector a bag (empty bags give zeros); `each` one an id, in the ids' order;
            `identity` takes row i for sample i and reads no ids (the bottom MLP's output before a concatenation).
        out: address of the first vector.
        out_stride_bytes: between vectors.
        weighted: rows are multiplied by the ids' weights.
        padding_id: adds nothing, is not counted; as a vector of its own it is zeros.
        policy: what becomes of ids outside the table (see `Ids.faults`); `modulo` is what ids mean and counts nothing.
        bag: ids a bag as expected; decides how many threads share one. Any bag may be longer.
        far: the rows are read past the first-level cache: for tables much larger than it.
    """

    rows: StoredRows
    number: int
    out: int
    out_stride_bytes: int
    mode: Mode = "sum"
    weighted: bool = False
    padding_id: int | None = None
    policy: IdPolicy | Literal["modulo"] = "error"
    default_row: int = 0
    bag: float = 1.0
    far: bool = False


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids of a batch on the GPU (`Jagged`): addresses of its arrays.

    Attributes:
        offsets: 0 when every bag holds one id.
        weights: float32; 0 without.
        faults: of two uint64: the least position of an id outside its table under policy `error` (set it to 2**64 - 1
            before), which adds nothing, and the number of ids that other policies replaced (set it to 0). Without an
            address ids are taken as they are: for those known to lie inside their tables.
        length: ids in all, as far as known; bounds the launch for mode `each`. 0: one a bag.
    """

    values: int
    batch: int
    index: IndexType = "int64"
    offsets: int = 0
    offset: IndexType = "int64"
    weights: int = 0
    faults: int = 0
    length: int = 0


def best_stride(dim: int, dtype: RowDtype) -> int:
    """The distance between rows, in bytes, that kernels read fastest."""
    return -(-_row_bytes(dim, dtype) // 16) * 16


def best_offset(dtype: RowDtype) -> int:
    """Where row 0 should begin, in bytes after a multiple of 16, so that codes can be read in large pieces."""
    return 16 - HEADER_BYTES if quantised(dtype) else 0


def best_bytes(rows: int, dim: int, dtype: RowDtype) -> int:
    """What to allocate for a table that begins `best_offset` behind a multiple of 16."""
    return best_offset(dtype) + rows * best_stride(dim, dtype) + (HEADER_BYTES if quantised(dtype) else 0)


def quantised(dtype: RowDtype) -> bool:
    """Whether rows begin with a header."""
    return dtype in ("int8", "int4")


def check_rows(rows: StoredRows) -> None:
    """Return when kernels can read `rows`.

    Raises:
        InputError: rows overlap, or elements are not aligned.
    """
    needed = _row_bytes(rows.dim, rows.dtype)
    if rows.stride_bytes < needed:
        raise InputError("lookup", f"rows of {needed} bytes lie {rows.stride_bytes} apart", "Check the stride.")
    element = {"fp32": 4, "fp16": 2, "bf16": 2}.get(rows.dtype, 1)
    if rows.address % element or rows.stride_bytes % element or rows.beyond % element:
        problem = f"{rows.dtype} rows at address {rows.address}, {rows.stride_bytes} apart, split their elements"
        raise InputError("lookup", problem, f"Align both to {element} bytes.")


def _row_bytes(dim: int, dtype: RowDtype) -> int:
    bits = {"fp32": 32, "fp16": 16, "bf16": 16, "int8": 8, "int4": 4}[dtype]
    return (HEADER_BYTES if quantised(dtype) else 0) + (dim * bits + 7) // 8
