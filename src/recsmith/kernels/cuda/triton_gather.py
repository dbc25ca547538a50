"""The plain gather in Triton, an alternative to `lookup` where all rows have one dim and one number format.

Needs the packages `triton` and `torch`; nothing else in recsmith imports this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import triton
import triton.language as tl

if TYPE_CHECKING:
    from torch import Tensor

_WARPS = 4
_ELEMENTS = 4096


@triton.jit  # type: ignore[untyped-decorator]
def gather_rows(  # type: ignore[no-untyped-def]
    tables, ids, like, out, batch, out_stride, DIM: tl.constexpr, WIDTH: tl.constexpr, BAGS: tl.constexpr
):
    """Rows of one id each: program (i, f) serves BAGS samples of feature f."""
    feature = tl.program_id(1)
    sample = tl.program_id(0) * BAGS + tl.arange(0, BAGS)
    column = tl.arange(0, WIDTH)
    rows = tl.load(tables + feature).to(tl.pointer_type(like.dtype.element_ty))
    row = tl.load(ids + feature * batch + sample, mask=sample < batch, other=0).to(tl.int64)
    wanted = (sample < batch)[:, None] & (column < DIM)[None, :]
    value = tl.load(rows + row[:, None] * DIM + column[None, :], mask=wanted, other=0)
    place = sample.to(tl.int64)[:, None] * out_stride + feature * DIM + column[None, :]
    tl.store(out + place, value.to(out.dtype.element_ty), mask=wanted)


@triton.jit  # type: ignore[untyped-decorator]
def gather_bags(  # type: ignore[no-untyped-def]
    tables,
    ids,
    offsets,
    like,
    out,
    batch,
    out_stride,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,
    BAGS: tl.constexpr,
    MEAN: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Sums or means of bags: as `gather_rows`, as many turns as the longest bag of a program takes."""
    feature = tl.program_id(1)
    sample = tl.program_id(0) * BAGS + tl.arange(0, BAGS)
    column = tl.arange(0, WIDTH)
    rows = tl.load(tables + feature).to(tl.pointer_type(like.dtype.element_ty))
    bag = offsets + feature * batch + sample
    begin = tl.load(bag, mask=sample < batch, other=0)
    end = tl.load(bag + 1, mask=sample < batch, other=0)
    total = tl.zeros([BAGS, WIDTH], tl.float32)
    turn = 0
    longest = tl.max(end - begin, 0)
    while turn < longest:
        for step in tl.static_range(UNROLL):
            at = begin + turn + step
            row = tl.load(ids + at, mask=at < end, other=0).to(tl.int64)
            wanted = (at < end)[:, None] & (column < DIM)[None, :]
            total += tl.load(rows + row[:, None] * DIM + column[None, :], mask=wanted, other=0).to(tl.float32)
        turn += UNROLL
    if MEAN:
        total = total / tl.maximum(end - begin, 1).to(tl.float32)[:, None]
    place = sample.to(tl.int64)[:, None] * out_stride + feature * DIM + column[None, :]
    tl.store(out + place, total.to(out.dtype.element_ty), mask=(sample < batch)[:, None] & (column < DIM)[None, :])


def gather(
    tables: Tensor, like: Tensor, dim: int, ids: Tensor, offsets: Tensor | None, out: Tensor, *, mean: bool = False
) -> None:
    """Write the vectors of all features side by side.

    Args:
        tables: [F] int64 on the GPU: addresses of tables whose rows are `dim` elements, packed.
        like: any tensor of the rows' number format (fp32, fp16 or bf16).
        ids: [L], feature-major, inside their tables; [F * B] without offsets.
        offsets: [F * B + 1], or None for one id a bag.
        out: [B, F * dim]; rows may lie further apart.
        mean: divide each bag's sum by its length.
    """
    batch, width = out.shape[0], triton.next_power_of_2(dim)
    bags = max(1, _ELEMENTS // width // (1 if offsets is None else 4))
    grid = (triton.cdiv(batch, bags), tables.shape[0])
    shape: dict[str, Any] = {"DIM": dim, "WIDTH": width, "BAGS": bags, "num_warps": _WARPS}
    if offsets is None:
        gather_rows[grid](tables, ids, like, out, batch, out.stride(0), **shape)
    else:
        gather_bags[grid](tables, ids, offsets, like, out, batch, out.stride(0), MEAN=mean, UNROLL=4, **shape)
