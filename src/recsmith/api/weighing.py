"""What models weigh, as they are kept and as they are served."""

from __future__ import annotations

from itertools import pairwise

from msgspec.structs import replace

from recsmith.representations import servings
from recsmith.spec import Model, Serving, Table

Ways = tuple[Serving, ...]
_FLOAT_BYTES = 4


def weigh(model: Model) -> int:
    """Bytes of embeddings and MLPs as they are kept."""
    return model.nbytes + dense_bytes(model)


def dense_bytes(model: Model) -> int:
    """Bytes of the MLPs."""
    parts = [part.widths for part in (model.bottom, model.top) if part is not None]
    return _FLOAT_BYTES * sum(wide * out + out for widths in parts for wide, out in pairwise(widths))


def smallest(model: Model) -> Ways:
    """Computed tables computed when asked for, save where finished rows weigh no more than what they are made from."""
    found = []
    for way in servings(model):
        finished, table = replace(way, way="materialise"), model.table(way.table)
        found.append(finished if table_bytes(table, finished) <= table_bytes(table, way) else way)
    return tuple(found)


def served_bytes(model: Model, ways: Ways) -> int:
    """Bytes of embeddings and MLPs as they are served."""
    by_table = {way.table: way for way in ways}
    return dense_bytes(model) + sum(
        table.nbytes if table.computed is None else table_bytes(table, by_table.get(table.name, Serving(table.name)))
        for table in model.tables
    )


def table_bytes(table: Table, way: Serving) -> int:
    """Bytes of a computed table as it is served: all rows finished, or what they are computed from and the hot ones."""
    row_bytes = table.dim * _FLOAT_BYTES
    return table.rows * row_bytes if way.way == "materialise" else table.served_bytes + way.hot * row_bytes
