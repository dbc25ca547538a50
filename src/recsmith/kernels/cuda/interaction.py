"""Look-up and dot interaction in one launch: the vectors never go to memory."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil
from typing import Literal

from recsmith.spec import CapacityError, InputError

from .call import ELEMENT_BYTES, Ids, OutputType, Vectors
from .gathering import OUTPUTS, fitting, index_constants, output_piece
from .packing import packed_feature, packed_ids, packed_numbers
from .program import Launch, Program
from .recipe import WARP, Recipe, recipe_of

MOST_VECTORS = 96
# Of shared memory a block, so that two of them fit a multiprocessor from Ampere on.
_BLOCK_BYTES = 80 << 10
_MOST_BLOCK_BYTES = 160 << 10


@dataclass(frozen=True, slots=True)
class InteractionTuning:
    """What may be tuned about look-up and interaction in one.

    Attributes:
        rows_in_flight: rows of a bag that a group of threads asks for before it waits.
        warps: of a block, at most; each serves one sample at a time.
        blocks: of the launch, at most: as many as the GPU holds at once, or a multiple of that.
        multiprocessors: a batch too small to give each of them a block of `warps` is served by smaller blocks.
        min_blocks: blocks that must fit a multiprocessor; 0 chooses by the registers that products take.
        stores: `past` lets go of written lines first.
    """

    rows_in_flight: int = 8
    warps: int = 8
    blocks: int = 132 * 3
    multiprocessors: int = 132
    min_blocks: int = 0
    stores: Literal["keep", "past"] = "keep"


@dataclass(frozen=True, slots=True)
class _Run:
    """Neighbours in the kernel's order that are gathered alike."""

    first: int
    count: int
    how: int
    recipe: Recipe


def interact(
    vectors: Sequence[Vectors],
    ids: Ids,
    out: int,
    out_stride_bytes: int,
    *,
    output: OutputType = "fp32",
    operand: OutputType = "fp32",
    self_terms: bool = False,
    columns: int = 0,
    tuning: InteractionTuning | None = None,
) -> Launch:
    """The launch that writes the top MLP's input [B, I] in DLRM's order: vector 0, then x_i . x_j for j < i.

    Sums are float32. Vectors are multiplied as `operand`: rows stored in that format, one an id and unweighted, exactly
    as they are; all others are rounded to it once, after pooling. Vector 0 is written as it came, in `output`.

    Args:
        vectors: in the order of products; the bottom MLP's output (mode `identity`) first. Their own `out` is not used.
        out: address of the first sample's output.
        operand: `fp16` and `bf16` run on tensor cores; `fp32` is for accuracy.
        self_terms: keep each vector's product with itself.
        columns: of the output, when more are wanted than there are: the rest are zeros, so that what follows can work
            on whole pieces (479 columns are 480). Fastest is an `out_stride_bytes` that is a multiple of 16.

    Raises:
        InputError: vectors differ in dim, or rows or outputs split their elements.
        CapacityError: more vectors than a warp's registers hold, or a sample is larger than shared memory.
    """
    chosen = tuning or InteractionTuning()
    dim = _dim(vectors)
    wanted = columns or dim + pairs(len(vectors), self_terms=self_terms)
    order, copied, runs = _order(vectors, ids, operand, output, chosen)
    element = ELEMENT_BYTES[output]
    tile = _tile_bytes(len(vectors), dim, operand, (wanted - dim) * element)
    warps = _warps(tile, min(chosen.warps, ceil(ids.batch / chosen.multiprocessors)))
    constants = (
        *index_constants(ids),
        ("VECTORS", str(len(vectors))),
        ("DIM", str(dim)),
        ("OPERAND", str(OUTPUTS[operand])),
        ("OUTPUT", str(OUTPUTS[output])),
        ("OUTPUT_PIECE", str(output_piece((out, out_stride_bytes), output))),
        ("COLUMNS", str(wanted)),
        ("SELF_TERMS", str(int(self_terms))),
        ("COPIED", str(copied)),
        ("PLACES_FROM", str(order[0] if order[:copied] == [*range(order[0], order[0] + copied)] else -1)),
        ("COPIED_CUT", str(int(any(vectors[at].rows.cut for at in order[:copied])))),
        ("BOTTOM_COPIED", str(int(0 in order[:copied]))),
        ("RUNS", " ".join(run.recipe.macro("RUN", run.first, run.count, run.how) for run in runs)),
        ("ROWS_IN_FLIGHT", str(chosen.rows_in_flight)),
        ("THREADS", str(warps * WARP)),
        ("MIN_BLOCKS", str(chosen.min_blocks or _min_blocks(len(vectors), warps))),
        ("PAST", str(int(chosen.stores == "past"))),
        ("TILE_BYTES", str(tile)),
    )
    arguments = (
        packed_ids(ids)
        + struct.pack("<Qq", out, out_stride_bytes)
        + b"".join(packed_feature(vectors[at]) for at in order)
        + packed_numbers(order)
    )
    blocks = min(ceil(ids.batch / warps), chosen.blocks)
    return Launch(
        Program("interaction.cu", "interact", constants),
        blocks,
        warps * WARP,
        fitting(arguments, len(vectors)),
        warps * tile,
    )


def pairs(vectors: int, *, self_terms: bool) -> int:
    """Products of a sample."""
    return vectors * (vectors + (1 if self_terms else -1)) // 2


def _dim(vectors: Sequence[Vectors]) -> int:
    if len(vectors) > MOST_VECTORS:
        problem = f"{len(vectors)} vectors a sample; products of at most {MOST_VECTORS} fit the registers of a warp"
        raise CapacityError("interaction", problem, "Look up first and multiply afterwards.")
    dims = {one.rows.dim for one in vectors}
    if len(dims) != 1:
        raise InputError(
            "interaction", f"products need vectors of one length, found {sorted(dims)}", "Check the model."
        )
    return dims.pop()


def _order(
    vectors: Sequence[Vectors], ids: Ids, operand: OutputType, output: OutputType, tuning: InteractionTuning
) -> tuple[list[int], int, list[_Run]]:
    """Places of vectors in the kernel's order, how many of them are copied, and runs of the others.

    Bags of like length are neighbours: groups of a warp wait for each other.
    """
    recipes = [recipe_of(one, ids) for one in vectors]

    def key(at: int) -> tuple[bool, Recipe, int, float]:
        one, recipe = vectors[at], recipes[at]
        copied = _copied(one, recipe, operand) and (at > 0 or (one.mode == "identity" and output == operand))
        if copied:  # In the order of products, so that places need not be looked up.
            return False, recipes[0], 0, 0.0
        return True, recipe, _how(one, recipe, tuning), -one.bag

    order = sorted(range(len(vectors)), key=key)
    copied = sum(not key(at)[0] for at in order)
    runs, first = [], copied
    for (_, recipe, how), run in groupby(order[copied:], lambda at: key(at)[:3]):
        count = len(list(run))
        runs.append(_Run(first, count, how, recipe))
        first += count
    return order, copied, runs


def _how(one: Vectors, recipe: Recipe, tuning: InteractionTuning) -> int:
    """One row an id, one row a sample, a bag a group of threads, or a bag a warp: numbers of `gather_run`."""
    if recipe.single:
        return int(one.mode == "identity")
    return 2 + int(recipe.lanes < WARP and one.bag > 2 * tuning.rows_in_flight)


def _copied(one: Vectors, recipe: Recipe, operand: OutputType) -> bool:
    """Whether stored rows are what is multiplied, in whole pieces."""
    whole = recipe.piece == 16 and recipe.dim * ELEMENT_BYTES[operand] % 16 == 0
    return recipe.single and not recipe.weighted and recipe.dtype == operand and whole


def _tile_bytes(vectors: int, dim: int, operand: OutputType, products_bytes: int) -> int:
    """`Tile::size` in tile.cuh."""
    multiple = 4 if operand == "fp32" else 16
    columns = ceil(dim / multiple) * multiple
    stride = (columns * ELEMENT_BYTES[operand] // 16 | 1) * 16
    rows = vectors if operand == "fp32" else ceil(vectors / 16) * 16
    products = ceil(products_bytes / 16) * 16
    return rows * stride + (0 if columns == dim and products <= (vectors - 1) * stride else products)


def _min_blocks(vectors: int, warps: int) -> int:
    """Such that sums of products stay in registers: up to 85, 128 or 255 a thread."""
    return (3 if vectors <= 32 else 2 if vectors <= 48 else 1) * 8 // warps


def _warps(tile_bytes: int, most: int) -> int:
    if tile_bytes > _MOST_BLOCK_BYTES:
        problem = f"the vectors of a sample take {tile_bytes} bytes of shared memory; there are {_MOST_BLOCK_BYTES}"
        raise CapacityError("interaction", problem, "Look up first and multiply afterwards.")
    warps = 1
    while warps < most and 2 * warps * tile_bytes <= _BLOCK_BYTES:
        warps *= 2
    return warps
