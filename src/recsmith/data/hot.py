"""Which ids are asked for most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def most_asked(ids_L: NDArray[np.integer], rows: int, count: int) -> NDArray[np.int64]:
    """The `count` ids of a table of `rows` that a recorded `ids_L` asks for most, most asked first.

    Ties go to the smaller id; when fewer than `count` were asked for, the smallest others follow.
    """
    found, times = np.unique(ids_L, return_counts=True)
    ranked = found[np.argsort(-times, kind="stable")][:count].astype(np.int64)
    if len(ranked) == count:
        return ranked
    others = np.setdiff1d(np.arange(min(rows, count + len(ranked))), ranked)
    return np.concatenate([ranked, others[: count - len(ranked)]])
