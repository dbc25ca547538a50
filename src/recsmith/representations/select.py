"""A representation for each feature. Source: [MPREC] B2, where the five largest tables become DHE."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Choice, Dhe, Feature, Model, Op, Select, Table

from . import holding
from .tables import chosen

LARGEST = 5


class SelectRepresentation:
    """Features one way or another, as a mapping says."""

    name = "select"

    def hold(self, model: Model, features: Sequence[str], choice: Choice | None = None) -> Model:
        """`features` held as the choice maps them; without one the five with the largest tables become DHE.

        Raises:
            PlanError: a mapped feature does not exist.
        """
        mapping = chosen(self.name, choice, largest(model, features))
        assert isinstance(mapping, Select)
        others = [name for name in features if name not in mapping.features]
        held = holding.hold(model, others, mapping.others) if others else model
        groups: dict[str, list[str]] = {}
        for name, one in mapping.features.items():
            groups.setdefault(one.digest(), []).append(name)
        for names in groups.values():
            held = holding.hold(held, names, mapping.features[names[0]])
        return held

    def lower(self, feature: Feature, model: Model) -> tuple[Op, ...]:
        """What the feature's own representation says."""
        return holding.lower(feature, model)

    def build(self, table: Table, seed: int) -> dict[str, NDArray[np.generic]]:
        """Untrained arrays of one table."""
        return holding.build(table, seed)


def largest(model: Model, features: Sequence[str], count: int = LARGEST) -> Select:
    """The `count` features with most rows as DHE, the others as tables."""
    rows = {feature.name: model.table_of(feature).rows for feature in model.features if feature.name in features}
    ranked = sorted(rows, key=lambda name: -rows[name])[:count]
    return Select({name: Dhe() for name in ranked})
