"""The ways in which a model's computed tables are worth serving on a platform, and what they weigh."""

from __future__ import annotations

from msgspec.structs import replace

from recsmith.representations import servings
from recsmith.spec import Model, Objective, Platform, Serving, Table, Way

from .candidates import dense_bytes
from .finishing import servings_within

Ways = tuple[Serving, ...]
_FLOAT_BYTES = 4


def ways_within(model: Model, machine: Platform, objective: Objective, memory_bytes: int) -> dict[Way, Ways]:
    """In few bytes, and as fast as `memory_bytes` for embeddings and MLPs allow; one way where both are the same.

    Raises:
        CapacityError, UnavailableError: as `servings_within`.
    """
    small = smallest(model)
    if not model.computes:
        return {"small": small}
    fast = servings_within(model, machine, objective, memory_bytes - dense_bytes(model))
    same = [(a.way, a.hot) for a in small] == [(b.way, b.hot) for b in fast]
    return {"small": small} if same else {"small": small, "fast": fast}


def smallest(model: Model) -> Ways:
    """Computed tables computed when asked for, save where finished rows weigh no more than what they are made from."""
    light = {table.name for table in model.tables if _finished_bytes(table) <= table.served_bytes}
    return tuple(replace(way, way="materialise") if way.table in light else way for way in servings(model))


def served_bytes(model: Model, ways: Ways) -> int:
    """Bytes of embeddings and MLPs as they are served."""
    by_table = {way.table: way for way in ways}
    rows = 0
    for table in model.tables:
        way = by_table.get(table.name, Serving(table.name))
        finished = way.way == "materialise"
        rows += _finished_bytes(table) if finished else table.served_bytes + way.hot * table.dim * _FLOAT_BYTES
    return rows + dense_bytes(model)


def _finished_bytes(table: Table) -> int:
    return table.rows * table.dim * _FLOAT_BYTES
