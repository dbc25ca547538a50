"""Mixed-dimension embeddings: narrow rows widened by one projection. Source: arXiv 1909.11810."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from recsmith.spec import Choice, Combine, Feature, MixedDimension, Model, Op, PlanError, Table

from .tables import chosen, with_tables


class MixedDimensionRepresentation:
    """Rows of fewer elements than the vectors they stand for."""

    name = "mixed_dimension"

    def hold(self, model: Model, features: Sequence[str], choice: Choice | None = None) -> Model:
        """Tables computed of narrow rows.

        Raises:
            PlanError: the width is not positive.
        """
        settings = chosen(self.name, choice, MixedDimension())
        assert isinstance(settings, MixedDimension)
        if settings.width < 1:
            raise PlanError("represent", f"rows of width {settings.width}", "Use 1 or more.")
        return with_tables(model, features, lambda table, _: replace(table, computed=settings))

    def lower(self, feature: Feature, model: Model) -> tuple[Op, ...]:
        """One row and one projection."""
        table = model.table_of(feature)
        return (Combine(feature.name, table.name, "project", ("narrow", "projection")),)

    def build(self, table: Table, seed: int) -> dict[str, NDArray[np.generic]]:
        """Untrained: rows uniform in +-1 / sqrt(rows), projection normal of variance 2 / (width + dim)."""
        draw = np.random.default_rng(seed)
        narrow, projection = table.parameters
        bound = table.rows**-0.5
        return {
            narrow.name: draw.uniform(-bound, bound, narrow.shape).astype(np.float32),
            projection.name: draw.normal(0, np.sqrt(2 / sum(projection.shape)), projection.shape).astype(np.float32),
        }
