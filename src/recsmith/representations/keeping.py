"""Trained models kept in fewer bits: rows, and the weights of DHE decoders."""

from __future__ import annotations

from msgspec.structs import replace

from recsmith.spec import Dhe, Model, RowDtype, RowFormat, Table


def kept_in(model: Model, dtype: RowDtype) -> Model:
    """`model` with every table as `kept` says; ours."""
    return replace(model, tables=tuple(kept(table, dtype) for table in model.tables))


def kept(table: Table, dtype: RowDtype) -> Table:
    """`table` with stored rows, or the weights of its decoder, in `dtype`. Computed rows are stored in `dtype` where
    these weigh less than what they are computed from: small tables do.
    """
    stored = replace(table, format=RowFormat(dtype, table.format.align_bytes), computed=None)
    if table.computed is None:
        return stored
    own = replace(table, computed=replace(table.computed, dtype=dtype)) if isinstance(table.computed, Dhe) else table
    return min(own, stored, key=lambda each: each.nbytes)
