"""How large a DHE a table deserves. Source: the settings that trained DHE models were published with ([MPREC] C2)."""

from __future__ import annotations

from collections.abc import Sequence

from recsmith.spec import Computed, Dhe, Hybrid, Model, Rows, Select, Table

from .dhe import settled

# More rows than this: so many hashes.
_STEPS = ((1_000_000, 1024), (100_000, 896), (10_000, 768), (1_000, 640), (100, 512), (10, 384), (-1, 256))


def by_rows(rows: int) -> Dhe:
    """The DHE for a table of `rows`: decoder k - k/2 - k/4 - dim, and no activation after the last layer."""
    k = next(k for more, k in _STEPS if rows > more)
    return Dhe(k=k, hidden=(k // 2, k // 4), last_activation="none")


def varied(
    model: Model, features: Sequence[str] | None = None, *, beside: bool = False, smaller: bool = False
) -> Select:
    """Each feature with a DHE sized for its table.

    Args:
        features: which; all when None. The others stay tables.
        beside: the table stays, and the DHE stands beside it (hybrid).
        smaller: only where the DHE takes fewer bytes than the table.
    """
    chosen: dict[str, Dhe | Hybrid] = {}
    for feature in model.features:
        table = model.table_of(feature)
        dhe = by_rows(table.rows)
        if features is not None and feature.name not in features:
            continue
        if smaller and nbytes(dhe, table) >= table.rows * table.format.stride_bytes(table.dim):
            continue
        chosen[feature.name] = Hybrid(dhe=dhe) if beside else dhe
    return Select(chosen, Rows())


def nbytes(choice: Computed, table: Table) -> int:
    """Bytes of the parameters of `choice` in place of `table`."""
    made = settled(choice, table.rows) if isinstance(choice, Dhe) else choice
    return sum(parameter.nbytes for parameter in made.parameters(table.rows, table.dim))
