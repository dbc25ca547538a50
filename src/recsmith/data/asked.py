"""Which ids stored samples ask for, and how often."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Access, Model, Popularity, Serving, Trace

from .hot import by_table, most_asked
from .store import Store
from .traces import Column


def accesses(store: Store) -> tuple[Access, ...]:
    """Each feature's mean bag and popularity, counted over the samples for training."""
    found = []
    for name, column in _training(store).items():
        seen = Popularity.from_counts(np.unique(column.values, return_counts=True)[1].tolist())
        found.append(Access(name, len(column.values) / store.facts.training, Trace(store.facts.source, seen)))
    return tuple(found)


def hottest(model: Model, ways: Iterable[Serving], store: Store) -> dict[str, NDArray[np.int64]]:
    """Table to the ids whose rows its serving keeps: those that the samples for training ask for most."""
    sizes = {way.table: way.hot for way in ways if way.hot}
    if not sizes:
        return {}
    asked = recorded(model, store)
    return {name: most_asked(asked[name], model.table(name).rows, size) for name, size in sizes.items()}


def recorded(model: Model, store: Store) -> dict[str, NDArray[np.int64]]:
    """Table to the ids that the samples for training ask of it, as often as they do."""
    return by_table(model, _training(store))


def _training(store: Store) -> dict[str, Column]:
    count = store.facts.training
    found = {}
    for name, ids, ends in zip(store.facts.features, store.ids, store.ends, strict=True):
        used = int(ends[count - 1]) if ends is not None else count
        found[name] = Column(np.asarray(ids[:used], np.int64), None if ends is None else np.append(0, ends[:count]))
    return found
