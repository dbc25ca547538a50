"""Quotient-remainder embeddings: two small tables, combined element by element. Source: arXiv 1909.02107."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from recsmith.spec import Choice, Combine, Feature, Model, Op, PlanError, QuotientRemainder, Table

from .tables import chosen, with_tables


class QuotientRemainderRepresentation:
    """Rows made of a row by the id's quotient and a row by its remainder."""

    name = "quotient_remainder"

    def hold(self, model: Model, features: Sequence[str], choice: Choice | None = None) -> Model:
        """Tables computed of two smaller ones.

        Raises:
            PlanError: fewer than one collision.
        """
        settings = chosen(self.name, choice, QuotientRemainder())
        assert isinstance(settings, QuotientRemainder)
        if settings.collisions < 1:
            raise PlanError("represent", f"{settings.collisions} collisions", "Use 1 or more.")
        return with_tables(model, features, lambda table, _: replace(table, computed=settings))

    def lower(self, feature: Feature, model: Model) -> tuple[Op, ...]:
        """One combination of two rows."""
        table = model.table_of(feature)
        assert isinstance(table.computed, QuotientRemainder)
        return (Combine(feature.name, table.name, table.computed.combine, ("quotient", "remainder")),)

    def build(self, table: Table, seed: int) -> dict[str, NDArray[np.generic]]:
        """Untrained tables, each uniform in +-1 / sqrt(its rows)."""
        draw = np.random.default_rng(seed)
        return {
            part.name: draw.uniform(-(part.shape[0] ** -0.5), part.shape[0] ** -0.5, part.shape).astype(np.float32)
            for part in table.parameters
        }
