"""The plain embedding table: a feature's vector is gathered from stored rows."""

from __future__ import annotations

from recsmith.spec import Feature, Gather, Op, Table


class TableRepresentation:
    """Rows as stored, in whatever `RowFormat` the table has."""

    name = "table"

    def lower(self, feature: Feature) -> tuple[Op, ...]:
        """One gather."""
        return (Gather(feature.name, feature.table, feature.pooling, feature.weighted),)

    def nbytes(self, table: Table) -> int:
        """Bytes of the rows."""
        return table.nbytes
