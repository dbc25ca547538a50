"""Which representation serves a choice, a feature or a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import (
    Choice,
    Computed,
    Dhe,
    Feature,
    Hybrid,
    MixedDimension,
    Model,
    Op,
    QuotientRemainder,
    Representation,
    Rows,
    Select,
    Table,
)

from .menu import REPRESENTATIONS

_NAMES: dict[type, str] = {
    Rows: "table",
    Dhe: "dhe",
    QuotientRemainder: "quotient_remainder",
    MixedDimension: "mixed_dimension",
    Hybrid: "hybrid",
    Select: "select",
}


def hold(model: Model, features: Sequence[str] | None, choice: Choice | str) -> Model:
    """`model` with the tables of `features` (None: all) held in another representation.

    Only the description changes; weights are converted or trained to match. A top MLP gets the width that the
    interaction then has.

    Args:
        choice: settings, or the name of a representation for its usual ones.

    Raises:
        PlanError: settings or features are wrong.
        UnknownNameError: there is no representation of that name.
    """
    wanted = [feature.name for feature in model.features] if features is None else list(features)
    name, settings = (choice, None) if isinstance(choice, str) else (_NAMES[type(choice)], choice)
    made: Representation = REPRESENTATIONS[name]()
    return made.hold(model, wanted, settings)


def lower(feature: Feature, model: Model) -> tuple[Op, ...]:
    """The ops that compute the feature's vectors, whatever it is held as."""
    made = _of("hybrid") if feature.beside is not None else _of(_name(model.table_of(feature).computed))
    return made.lower(feature, model)


def build(table: Table, seed: int) -> dict[str, NDArray[np.generic]]:
    """Untrained arrays of a table: `rows` [rows, dim] float32, or parameters by name when it is computed."""
    return _of(_name(table.computed)).build(table, seed)


def _name(computed: Computed | None) -> str:
    return "table" if computed is None else _NAMES[type(computed)]


def _of(name: str) -> Representation:
    made: Representation = REPRESENTATIONS[name]()
    return made
