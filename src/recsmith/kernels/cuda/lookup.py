"""All look-ups of a batch in one launch: any mixture of row formats, dims, poolings and bag lengths."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import ceil

from .call import Ids, OutputType, Vectors
from .gathering import Gathering, GatherTuning, fitting
from .packing import packed_feature, packed_ids, packed_numbers
from .program import Launch, Program
from .recipe import Recipe


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
    gathering = Gathering(vectors, ids, chosen, recipes)
    blocks = [ceil(_bags(one, ids) / share.bags) for one, share in zip(vectors, gathering.shares, strict=True)]
    firsts = [0, *accumulate(blocks)]
    arguments = packed_ids(ids)
    for one, share in zip(vectors, gathering.shares, strict=True):
        arguments += packed_feature(one, share)
    interleaved = chosen.order == "sample" and len(set(blocks)) == 1
    program = Program("lookup.cu", "lookup", (*gathering.constants(output), ("INTERLEAVED", str(int(interleaved)))))
    arguments = fitting(arguments + packed_numbers(firsts), len(vectors))
    return Launch(program, firsts[-1], chosen.threads, arguments, gathering.room_bytes)


def _bags(one: Vectors, ids: Ids) -> int:
    """How many vectors there may be."""
    return ids.length or ids.batch if one.mode == "each" else ids.batch
