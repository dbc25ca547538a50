"""The ways in which a model's computed tables are worth serving on a platform."""

from __future__ import annotations

from recsmith.spec import Model, Objective, Platform, Way

from .finishing import servings_within
from .weighing import Ways, dense_bytes, smallest


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
