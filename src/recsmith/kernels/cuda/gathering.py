"""What all kernels that write looked-up vectors have in common: tuning, constants, and how bags are shared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from recsmith.spec import CapacityError, InputError

from .call import ELEMENT_BYTES, Ids, OutputType, Vectors
from .packing import MOST_ARGUMENT_BYTES
from .recipe import Recipe, recipe_of

OUTPUTS: dict[OutputType, int] = {"fp32": 0, "fp16": 1, "bf16": 2}
# Elements a thread that leave room for three blocks of 256 threads (85 registers each).
_FEW_VALUES = 8
Constants = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class GatherTuning:
    """What may be tuned about a look-up; none of it changes the result, but for the order in which a bag is added up.

    Attributes:
        rows_in_flight: rows that a group of threads asks for before it waits.
        threads: of a block.
        min_blocks: blocks that must fit a multiprocessor; 0 chooses by the registers that rows take. Low, or the
            compiler saves registers by asking for one row after the other.
        order: neighbouring blocks serve one feature's samples, or one block of samples' features.
        stores: `past` lets go of written lines first.
        blocks_wanted: as long as there are fewer, a bag is shared by more threads, and where all bags hold one id a
            block serves fewer of them.
    """

    rows_in_flight: int = 4
    threads: int = 256
    min_blocks: int = 0
    order: Literal["feature", "sample"] = "sample"
    stores: Literal["keep", "past"] = "keep"
    blocks_wanted: int = 264


@dataclass(frozen=True, slots=True)
class Shared:
    """How one feature's bags are shared by the threads of a block.

    Attributes:
        recipe: its place among the program's.
        split: groups of threads that share a bag.
        bags: that a block serves.
    """

    recipe: int
    split: int
    bags: int


class Gathering:
    """The recipes of some features, and what a program that serves them is told.

    Args:
        recipes: more of them to compile for, so that several launches share one program.
    """

    def __init__(
        self, vectors: Sequence[Vectors], ids: Ids, tuning: GatherTuning, recipes: Sequence[Recipe] = ()
    ) -> None:
        of_each = [recipe_of(one, ids) for one in vectors]
        self._vectors, self._ids, self._tuning = vectors, ids, tuning
        self.recipes = sorted({*of_each, *recipes})
        self._in_flight = self._rows_in_flight(of_each)
        self.shares = [self._share(one, recipe) for one, recipe in zip(vectors, of_each, strict=True)]

    @property
    def room_bytes(self) -> int:
        """Shared memory in which the groups that share a bag add up."""
        widest = max((recipe.values + 1 for recipe in self.recipes), default=1)
        return -(-4 * self._tuning.threads * widest // 128) * 128

    @property
    def _min_blocks(self) -> int:
        """Such that rows in flight and their sum stay in registers, of which a multiprocessor has 65536."""
        widest = max((recipe.values for recipe in self.recipes), default=1)
        return max(1, (3 if widest <= _FEW_VALUES else 2) * 256 // self._tuning.threads)

    def constants(self, output: OutputType) -> Constants:
        """Of every program that gathers."""
        tuning = self._tuning
        places = [place for one in self._vectors for place in (one.out, one.out_stride_bytes)]
        return (
            *index_constants(self._ids),
            ("FEATURES", str(len(self._vectors))),
            ("RECIPES", " ".join(recipe.macro("RECIPE", at) for at, recipe in enumerate(self.recipes))),
            ("THREADS", str(tuning.threads)),
            ("MIN_BLOCKS", str(tuning.min_blocks or self._min_blocks)),
            ("ROWS_IN_FLIGHT", str(self._in_flight)),
            ("OUTPUT", str(OUTPUTS[output])),
            ("OUTPUT_PIECE", str(output_piece(places, output))),
            ("PAST", str(int(tuning.stores == "past"))),
        )

    def _rows_in_flight(self, recipes: Sequence[Recipe]) -> int:
        """Fewer than asked for when that spreads a small batch over more blocks."""
        found = self._tuning.rows_in_flight
        if not all(recipe.single for recipe in recipes):
            return found
        rows_a_block = [self._tuning.threads // recipe.lanes for recipe in recipes]
        while found > 1 and self._blocks(rows_a_block, found) < self._tuning.blocks_wanted:
            found //= 2
        return found

    def _blocks(self, rows_a_block: Sequence[int], in_flight: int) -> int:
        return sum(-(-self._ids.batch // (rows * in_flight)) for rows in rows_a_block)

    def _share(self, one: Vectors, recipe: Recipe) -> Shared:
        groups, at = self._tuning.threads // recipe.lanes, self.recipes.index(recipe)
        if recipe.single:
            return Shared(at, 1, groups * self._in_flight)
        split = 1
        while split < groups and self._shared_more(one, split, groups):
            split *= 2
        return Shared(at, split, groups // split)

    def _shared_more(self, one: Vectors, split: int, groups: int) -> bool:
        """Long bags are shared until each group has a few turns; short ones while the GPU is not full."""
        turns = one.bag / (split * self._in_flight)
        blocks = len(self._vectors) * self._ids.batch * split / groups
        return turns > 4 or (turns > 1 and blocks < self._tuning.blocks_wanted)


def index_constants(ids: Ids) -> Constants:
    """Types of ids and offsets, and whether ids are checked: what every program that reads ids is told."""
    c_type = {"int32": "i32", "int64": "i64"}
    return (("INDEX", c_type[ids.index]), ("OFFSET", c_type[ids.offset]), ("CHECKED", str(int(ids.faults != 0))))


def output_piece(places: Iterable[int], output: OutputType) -> int:
    """The most bytes that can be stored at once, 16 or less, where `places` are addresses and strides.

    Raises:
        InputError: outputs split their elements.
    """
    element, piece, bits = ELEMENT_BYTES[output], 16, 0
    for place in places:
        bits |= place
    while bits % piece:
        piece //= 2
    if piece < element:
        raise InputError("lookup", f"{output} outputs are aligned to {piece} bytes", f"Align them to {element}.")
    return piece


def fitting(arguments: bytes, features: int) -> bytes:
    """`arguments`, when one launch takes as many.

    Raises:
        CapacityError: it does not.
    """
    if len(arguments) > MOST_ARGUMENT_BYTES:
        raise CapacityError("lookup", f"{features} features are more than one launch takes", "Make several.")
    return arguments
