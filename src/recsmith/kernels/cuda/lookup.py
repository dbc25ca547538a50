"""All look-ups of a batch in one launch: any mixture of row formats, dims, poolings and bag lengths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from recsmith.spec import CapacityError, InputError

from .call import ELEMENT_BYTES, Ids, OutputType, Vectors
from .packing import MOST_ARGUMENT_BYTES, packed_feature, packed_ids, packed_numbers
from .program import Launch, Program
from .recipe import Recipe, recipe_of

OUTPUTS: dict[OutputType, int] = {"fp32": 0, "fp16": 1, "bf16": 2}


@dataclass(frozen=True, slots=True)
class GatherTuning:
    """What may be tuned about a look-up; none of it changes the result, but for the order in which a bag is added up.

    Attributes:
        rows_in_flight: rows that a group of threads asks for before it waits.
        threads: of a block.
        min_blocks: blocks that must fit a multiprocessor. Low, or the compiler saves registers by asking for one row
            after the other.
        order: neighbouring blocks serve one feature's samples, or one block of samples' features.
        stores: `past` lets go of written lines first.
        blocks_wanted: a bag is shared by more threads as long as there are fewer blocks than this.
    """

    rows_in_flight: int = 4
    threads: int = 256
    min_blocks: int = 3
    order: Literal["feature", "sample"] = "sample"
    stores: Literal["keep", "past"] = "keep"
    blocks_wanted: int = 264


def lookup(
    vectors: Sequence[Vectors],
    ids: Ids,
    output: OutputType = "fp32",
    tuning: GatherTuning | None = None,
    recipes: Sequence[Recipe] = (),
) -> Launch:
    """The launch that writes the vectors of all features.

    Sums are made in float32, in an order that depends on the tuning but not on the run. A concatenation (DCN) is this
    launch with the bottom MLP's output as one more entry of mode `identity`.

    Args:
        recipes: more recipes to compile for, so that several launches share one program.

    Raises:
        InputError: rows or outputs overlap or split their elements.
        CapacityError: more features than one launch takes; make several.
    """
    chosen = tuning or GatherTuning()
    of_each = [recipe_of(one, ids) for one in vectors]
    known = sorted({*of_each, *recipes})
    shares = [_share(one, recipe, ids, chosen, len(vectors)) for one, recipe in zip(vectors, of_each, strict=True)]
    blocks = [ceil(_bags(one, ids) / share[1]) for one, share in zip(vectors, shares, strict=True)]
    interleaved = chosen.order == "sample" and len(set(blocks)) == 1
    firsts = [sum(blocks[:at]) for at in range(len(blocks) + 1)]
    arguments = (
        packed_ids(ids)
        + b"".join(
            packed_feature(one, known.index(recipe), *share)
            for one, recipe, share in zip(vectors, of_each, shares, strict=True)
        )
        + packed_numbers(firsts)
    )
    if len(arguments) > MOST_ARGUMENT_BYTES:
        raise CapacityError("lookup", f"{len(vectors)} features are more than one launch takes", "Make several.")
    program = _program(vectors, ids, output, chosen, known, interleaved=interleaved)
    shared_bytes = 4 * chosen.threads * max((recipe.values + 1 for recipe in known), default=1)
    return Launch(program, firsts[-1], chosen.threads, arguments, shared_bytes)


def _program(
    vectors: Sequence[Vectors],
    ids: Ids,
    output: OutputType,
    tuning: GatherTuning,
    recipes: Sequence[Recipe],
    *,
    interleaved: bool,
) -> Program:
    places = [place for one in vectors for place in (one.out, one.out_stride_bytes)]
    constants = (
        *index_constants(ids),
        ("FEATURES", str(len(vectors))),
        ("RECIPES", " ".join(recipe.macro("RECIPE", at) for at, recipe in enumerate(recipes))),
        ("THREADS", str(tuning.threads)),
        ("MIN_BLOCKS", str(tuning.min_blocks)),
        ("ROWS_IN_FLIGHT", str(tuning.rows_in_flight)),
        ("OUTPUT", str(OUTPUTS[output])),
        ("OUTPUT_PIECE", str(output_piece(places, output))),
        ("PAST", str(int(tuning.stores == "past"))),
        ("INTERLEAVED", str(int(interleaved))),
    )
    return Program("lookup.cu", "lookup", constants)


def index_constants(ids: Ids) -> tuple[tuple[str, str], ...]:
    """Types of ids and offsets, and whether ids are checked: what every program that reads ids is told."""
    c_type = {"int32": "i32", "int64": "i64"}
    return (("INDEX", c_type[ids.index]), ("OFFSET", c_type[ids.offset]), ("CHECKED", str(int(ids.faults != 0))))


def output_piece(places: Iterable[int], output: OutputType) -> int:
    """The most bytes that can be stored at once, 16 or less, where `places` are addresses and strides.

    Raises:
        InputError: outputs split their elements.
    """
    element, piece = ELEMENT_BYTES[output], 16
    bits = 0
    for place in places:
        bits |= place
    while bits % piece:
        piece //= 2
    if piece < element:
        raise InputError("lookup", f"{output} outputs are aligned to {piece} bytes", f"Align them to {element}.")
    return piece


def _bags(one: Vectors, ids: Ids) -> int:
    """How many vectors there may be."""
    return ids.length or ids.batch if one.mode == "each" else ids.batch


def _share(one: Vectors, recipe: Recipe, ids: Ids, tuning: GatherTuning, features: int) -> tuple[int, int]:
    """Groups that share a bag, and bags that a block serves."""
    groups = tuning.threads // recipe.lanes
    if recipe.single:
        return 1, groups * tuning.rows_in_flight
    split = 1
    while split < groups and _shared_more(one, split, groups, ids, tuning, features):
        split *= 2
    return split, groups // split


def _shared_more(one: Vectors, split: int, groups: int, ids: Ids, tuning: GatherTuning, features: int) -> bool:
    """Long bags are shared until each group has two turns; short ones while the GPU is not full."""
    turns = one.bag / (split * tuning.rows_in_flight)
    blocks = features * ids.batch * split / groups
    return turns > 4 or (turns > 1 and blocks < tuning.blocks_wanted)
