"""Which rows of a computed table are finished when a plan is bound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import PlanError, Serving, Table


def hot_ids(table: Table, way: Serving, profile: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """The ids whose rows a plan keeps: the first `way.hot` of the profile.

    Args:
        profile: distinct ids of the table, most asked first.

    Raises:
        PlanError: the profile is missing, too short, names ids twice or outside the table.
    """
    if not way.hot:
        return np.empty(0, np.int64)
    if profile is None or len(profile) < way.hot:
        found = "none" if profile is None else str(len(profile))
        raise PlanError(
            "compile",
            f"the plan keeps {way.hot} rows of table '{table.name}', its profile names {found}",
            "Pass profile={table: ids, most asked first}, or plan for fewer.",
        )
    kept = np.ascontiguousarray(profile[: way.hot], np.int64)
    if len(np.unique(kept)) != len(kept) or kept.min() < 0 or kept.max() >= table.rows:
        raise PlanError(
            "compile", f"the profile of table '{table.name}' repeats ids or leaves it", "Correct the profile."
        )
    return kept
