"""Which ids a recorded profile asks for most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import FormatError, Model, Serving

from . import traces
from .traces import Column

# Ids that centroids are found among, beyond those whose rows are kept.
_CLUSTERED = 1 << 14


def by_table(model: Model, columns: Mapping[str, Column]) -> dict[str, NDArray[np.int64]]:
    """Table name to the row numbers that `columns`, by feature, ask of it: those of all features that read it.

    Raises:
        FormatError: an id lies outside its table.
    """
    found: dict[str, list[NDArray[np.int64]]] = {}
    for feature in model.features:
        if feature.name not in columns:
            continue
        ids_L, rows = columns[feature.name].values, model.table_of(feature).rows
        if len(ids_L) and not 0 <= ids_L.min() <= ids_L.max() < rows:
            raise FormatError(
                "profile",
                f"feature '{feature.name}' asks for rows {ids_L.min()} to {ids_L.max()}; its table has {rows}",
                "Record row numbers of this model.",
            )
        for name in (feature.table, feature.beside):
            if name is not None:
                found.setdefault(name, []).append(ids_L)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def hottest(model: Model, ways: Iterable[Serving], profile: str | Path | None) -> dict[str, NDArray[np.int64]] | None:
    """What `compile` wants to know of a plan's caches: table name to the ids whose rows are kept.

    None without a profile.

    Args:
        profile: recorded ids (Parquet), a column for each feature that reads a cached table.

    Raises:
        FormatError: the profile cannot be read, or asks for rows that a table lacks.
    """
    if profile is None:
        return None
    sizes = {way.table: way.hot + (_CLUSTERED if way.way == "centroids" else 0) for way in ways}
    sizes = {table: min(size, model.table(table).rows) for table, size in sizes.items() if size}
    names = [f.name for f in model.features if f.table in sizes or f.beside in sizes]
    asked = by_table(model, traces.read(profile, names))
    return {name: most_asked(asked[name], model.table(name).rows, size) for name, size in sizes.items()}


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
