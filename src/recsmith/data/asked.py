"""How often the ids of stored samples are asked for."""

from __future__ import annotations

import numpy as np

from recsmith.spec import Access, Popularity, Trace

from .store import Store


def accesses(store: Store) -> tuple[Access, ...]:
    """Each feature's mean bag and popularity, counted over the samples for training."""
    found = []
    count = store.facts.training
    for name, rows, ids, ends in zip(store.facts.features, store.facts.rows, store.ids, store.ends, strict=True):
        used = int(ends[count - 1]) if ends is not None else count
        counts = np.bincount(ids[:used], minlength=rows)
        seen = Popularity.from_counts(counts[counts > 0].tolist())
        found.append(Access(name, used / count, Trace(store.facts.source, seen)))
    return tuple(found)
