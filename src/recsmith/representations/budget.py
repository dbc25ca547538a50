"""Which tables must be held otherwise for a model to fit a memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, get_args

from msgspec.structs import replace

from recsmith.spec import (
    CapacityError,
    Computed,
    Dhe,
    MixedDimension,
    Model,
    QuotientRemainder,
    RowDtype,
    Rows,
    Select,
    Table,
)

from .dhe import settled
from .keeping import kept, kept_in
from .sizing import by_rows

Kind = Literal["dhe", "dhe_everywhere", "quotient_remainder", "mixed_dimension"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Sized = Callable[[Table], Computed]

_PARTS = (1, 2, 4, 8)
_COLLISIONS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


def fitting(model: Model, table_bytes: int, kind: Kind, dtype: RowDtype = "fp32") -> Select:
    """The largest computed rows with which the embeddings, kept in `dtype`, weigh at most `table_bytes`. Ours.

    Args:
        kind: what the heaviest tables become, as few of them as will do; `dhe_everywhere`: all tables do.
        dtype: of rows and decoders afterwards, see `keeping.kept`; the choice itself is in float32, to be trained.

    Raises:
        CapacityError: they weigh more in any size; says how much in the smallest.
    """
    for sized in _sizes(model, kind):
        try:
            return (_everywhere if kind == "dhe_everywhere" else within)(model, table_bytes, sized, dtype)
        except CapacityError as error:
            refusal = error
    raise refusal


def within(
    model: Model, table_bytes: int, sized: Sized = lambda table: by_rows(table.rows), dtype: RowDtype = "fp32"
) -> Select:
    """Another representation for as few tables as bring the embeddings down to `table_bytes`, those that save most
    first; ours.

    Args:
        sized: what a table becomes; DHE of the usual size for its rows by default.
        dtype: of rows and decoders afterwards, see `keeping.kept`.

    Raises:
        CapacityError: they weigh more even when every table that gains by it is held so.
    """
    stored = [table for table in model.tables if table.computed is None]
    saved = {t.name: kept(t, dtype).nbytes - kept(_computed(t, sized), dtype).nbytes for t in stored}
    readers = {feature.table: feature.name for feature in model.features}
    total, chosen = kept_in(model, dtype).nbytes, {}
    for name in sorted(saved, key=lambda name: -saved[name]):
        if total <= table_bytes or saved[name] <= 0:
            break
        chosen[readers[name]] = sized(model.table(name))
        total -= saved[name]
    if total > table_bytes:
        raise _too_much(model, total, table_bytes, "all tables held otherwise that gain by it")
    return Select(chosen, Rows())


def _everywhere(model: Model, table_bytes: int, sized: Sized, dtype: RowDtype) -> Select:
    total = sum(kept(_computed(table, sized), dtype).nbytes for table in model.tables)
    if total > table_bytes:
        raise _too_much(model, total, table_bytes, "all tables held otherwise")
    return Select({feature.name: sized(model.table_of(feature)) for feature in model.features}, Rows())


def _too_much(model: Model, found_bytes: int, table_bytes: int, how: str) -> CapacityError:
    return CapacityError(
        "compress",
        f"the embeddings of '{model.name}' weigh {found_bytes:,} bytes with {how}; wanted at most {table_bytes:,}",
        "Allow more memory, or store rows in fewer bits.",
    )


def _sizes(model: Model, kind: Kind) -> Iterable[Sized]:
    """From the largest."""
    if kind == "quotient_remainder":
        return (_always(QuotientRemainder(count)) for count in _COLLISIONS)
    if kind == "mixed_dimension":
        dim = max(table.dim for table in model.tables)
        return (_always(MixedDimension(dim >> power)) for power in range(1, max(dim.bit_length(), 2)))
    return (_part_of_usual(part) for part in _PARTS)


def _computed(table: Table, sized: Sized) -> Table:
    choice = sized(table)
    return replace(table, computed=settled(choice, table.rows) if isinstance(choice, Dhe) else choice)


def _part_of_usual(part: int) -> Sized:
    def sized(table: Table) -> Dhe:
        usual = by_rows(table.rows)
        return replace(usual, k=usual.k // part, hidden=tuple(width // part for width in usual.hidden))

    return sized


def _always(choice: Computed) -> Sized:
    return lambda table: choice
