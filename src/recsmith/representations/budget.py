"""Which tables must be held otherwise for a model to fit a memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from recsmith.spec import CapacityError, Computed, Dhe, MixedDimension, Model, QuotientRemainder, Rows, Select, Table

from .sizing import by_rows, nbytes

Sized = Callable[[Table], Computed]

_PARTS = (1, 2, 4, 8)
_COLLISIONS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


def fitting(model: Model, table_bytes: int) -> dict[str, Select]:
    """By name, the largest DHE, quotient-remainder and mixed-dimension rows with which the embeddings weigh at most
    `table_bytes`; without those that weigh more in any size. Ours.
    """
    dim = max(table.dim for table in model.tables)
    sizes: dict[str, Iterable[Sized]] = {
        "dhe": (_part_of_usual(part) for part in _PARTS),
        "quotient_remainder": (_always(QuotientRemainder(count)) for count in _COLLISIONS),
        "mixed_dimension": (_always(MixedDimension(dim >> power)) for power in range(1, dim.bit_length())),
    }
    found = {}
    for name, by_size in sizes.items():
        for sized in by_size:
            try:
                found[name] = within(model, table_bytes, sized)
            except CapacityError:
                continue
            break
    return found


def within(model: Model, table_bytes: int, sized: Sized = lambda table: by_rows(table.rows)) -> Select:
    """Another representation for as few tables as bring the embeddings down to `table_bytes`, those that save most
    first; ours.

    Args:
        sized: what a table becomes; DHE of the usual size for its rows by default.

    Raises:
        CapacityError: they weigh more even when every table that gains by it is held so.
    """
    saved = {table.name: table.nbytes - nbytes(sized(table), table) for table in model.tables if not table.computed}
    readers = {feature.table: feature.name for feature in model.features}
    total, chosen = model.nbytes, {}
    for name in sorted(saved, key=lambda name: -saved[name]):
        if total <= table_bytes or saved[name] <= 0:
            break
        chosen[readers[name]] = sized(model.table(name))
        total -= saved[name]
    if total > table_bytes:
        raise CapacityError(
            "compress",
            f"the embeddings of '{model.name}' weigh {total:,} bytes with all tables held otherwise that gain by it; "
            f"wanted at most {table_bytes:,}",
            "Allow more memory, or store rows in fewer bits.",
        )
    return Select(chosen, Rows())


def _part_of_usual(part: int) -> Sized:
    def sized(table: Table) -> Dhe:
        usual = by_rows(table.rows)
        return replace(usual, k=usual.k // part, hidden=tuple(width // part for width in usual.hidden))

    return sized


def _always(choice: Computed) -> Sized:
    return lambda table: choice
