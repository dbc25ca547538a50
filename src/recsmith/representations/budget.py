"""Which tables must become DHE for a model to fit a memory."""

from __future__ import annotations

from collections.abc import Callable

from recsmith.spec import CapacityError, Dhe, Model, Rows, Select

from .sizing import by_rows, nbytes


def within(model: Model, table_bytes: int, dhe: Callable[[int], Dhe] = by_rows) -> Select:
    """DHE for as few tables as bring the embeddings down to `table_bytes`, those that save most first; ours.

    Args:
        dhe: settings for a table of so many rows.

    Raises:
        CapacityError: they weigh more even when every table is DHE that weighs less so.
    """
    saved = {
        table.name: table.nbytes - nbytes(dhe(table.rows), table) for table in model.tables if table.computed is None
    }
    readers = {feature.table: feature.name for feature in model.features}
    total, chosen = model.nbytes, {}
    for name in sorted(saved, key=lambda name: -saved[name]):
        if total <= table_bytes or saved[name] <= 0:
            break
        chosen[readers[name]] = dhe(model.table(name).rows)
        total -= saved[name]
    if total > table_bytes:
        raise CapacityError(
            "compress",
            f"the embeddings of '{model.name}' weigh {total:,} bytes with every table as DHE that gains by it; "
            f"wanted at most {table_bytes:,}",
            "Allow more memory, or store rows in fewer bits.",
        )
    return Select(chosen, Rows())
