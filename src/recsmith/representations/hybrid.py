"""Table and DHE side by side: each feature brings two vectors to the interaction. Source: [MPREC] B2."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from recsmith.spec import Choice, Dhe, Feature, Gather, Hybrid, Model, Op, PlanError, Table

from . import dhe
from .table import TableRepresentation
from .tables import chosen, refitted, tables_of

SUFFIX = "+dhe"


class HybridRepresentation:
    """The feature's own table keeps stored rows; a table called `<table>+dhe` stands beside it."""

    name = "hybrid"

    def hold(self, model: Model, features: Sequence[str], choice: Choice | None = None) -> Model:
        """Stored rows and a DHE beside them, for every feature that reads the tables.

        Raises:
            PlanError: a feature is not pooled (its sequence has room for one vector an id), or as `dhe.settled`.
        """
        both = chosen(self.name, choice, Hybrid())
        assert isinstance(both, Hybrid)
        names = tables_of(model, features)
        unpooled = [f.name for f in model.features if f.table in names and f.pooling == "none"]
        if unpooled:
            raise PlanError(
                "represent",
                f"feature '{unpooled[0]}' keeps one vector an id (pooling none), so it cannot be hybrid",
                "Hold it as a table or as DHE.",
            )
        plain = TableRepresentation().hold(model, features, both.rows)
        added = tuple(
            Table(
                name + SUFFIX,
                model.table(name).rows,
                model.table(name).dim,
                computed=dhe.settled(replace(both.dhe, draw=both.dhe.draw + at), model.table(name).rows),
            )
            for at, name in enumerate(names)
        )
        twofold = tuple(
            replace(feature, beside=feature.table + SUFFIX) if feature.table in names else feature
            for feature in model.features
        )
        return refitted(replace(plain, tables=plain.tables + added, features=twofold))

    def lower(self, feature: Feature, model: Model) -> tuple[Op, ...]:
        """A gather; then hash and decode."""
        assert feature.beside is not None
        table = model.table(feature.beside)
        assert isinstance(table.computed, Dhe)
        first = Gather(feature.name, feature.table, feature.pooling, feature.weighted)
        return first, *dhe.ops(table.computed, feature.name, table)

    def build(self, table: Table, seed: int) -> dict[str, NDArray[np.generic]]:
        """Untrained arrays of either of its two tables."""
        if table.computed is None:
            return TableRepresentation().build(table, seed)
        return dhe.DheRepresentation().build(table, seed)
