"""Who gets how much of a cache (Che's approximation; the split between tables and buffers is ours).

A line stays in a cache of LRU-like replacement for the characteristic time T after its last use, the same T for
all who use the cache: T solves sum over lines of (1 - exp(-rate * T)) * line bytes = capacity. Here T counts
batches, since everything recurs with them. Batches follow one another for ever, each with new ids, so the
shares are those of the steady state and repeats within a batch count as hits.

Not everything is asked for at random: an output buffer and a streamed table come round once a batch (hit when
T is at least one batch), ids come once and never again (they only take room).

Shapes: G classes of lines, S streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .footprint import Footprint

Floats = NDArray[np.float64]

_STEPS = 60
_PRECISION = 1e-6


@dataclass(slots=True)
class Traffic:
    """What passes through caches in one batch.

    Attributes:
        lookups: name of the rows, and what they leave behind, to how many look-ups ask for them.
        streamed_bytes: name to bytes of a table that is read in order once a batch.
        own_bytes: bytes of buffers that come round once a batch and belong to one core.
        fresh_bytes: bytes never seen before.
    """

    lookups: dict[tuple[str, Footprint], float] = field(default_factory=dict)
    streamed_bytes: dict[str, float] = field(default_factory=dict)
    own_bytes: float = 0.0
    fresh_bytes: float = 0.0

    def ask(self, rows: str, count: float, footprint: Footprint) -> None:
        """Add `count` look-ups of `rows`; the same rows asked for in the same way share their lines."""
        key = (rows, footprint)
        self.lookups[key] = self.lookups.get(key, 0.0) + count

    def stream(self, rows: str, nbytes: float) -> None:
        """Add `nbytes` of `rows` read in order; the same name is the same data."""
        self.streamed_bytes[rows] = max(self.streamed_bytes.get(rows, 0.0), nbytes)

    def add(self, other: Traffic) -> None:
        """Add all of `other`."""
        for (rows, footprint), count in other.lookups.items():
            self.ask(rows, count, footprint)
        for rows, nbytes in other.streamed_bytes.items():
            self.stream(rows, nbytes)
        self.own_bytes += other.own_bytes
        self.fresh_bytes += other.fresh_bytes


def merged(parts: Sequence[Traffic]) -> Traffic:
    """All of `parts` through one cache."""
    whole = Traffic()
    for part in parts:
        whole.add(part)
    return whole


def characteristic_batches(
    bytes_G: Floats, rate_G: Floats, cyclic_bytes: float, fresh_bytes: float, capacity_bytes: float
) -> float:
    """T in batches, for classes of `bytes_G` whose lines are touched `rate_G` times a batch; inf when all fits.

    What is in the cache after T batches grows with T and bends downwards, so Newton's steps from the left
    never overshoot.
    """
    asked_G = bytes_G[rate_G > 0]
    if fresh_bytes <= 0 and asked_G.sum() + cyclic_bytes <= capacity_bytes:
        return float("inf")
    batches = 0.0
    for _ in range(_STEPS):
        missing_G = bytes_G * np.exp(-rate_G * batches)
        held = float((bytes_G - missing_G).sum()) + cyclic_bytes * min(1.0, batches) + fresh_bytes * batches
        slope = float((rate_G * missing_G).sum()) + cyclic_bytes * (batches < 1) + fresh_bytes
        if slope <= 0:
            return float("inf")
        step = (capacity_bytes - held) / slope
        batches += max(step, 0.0)
        if step <= _PRECISION * batches:
            break
    return float(batches)


class SharedCache:
    """A cache as those who use it find it.

    Args:
        users: what each user sends through it.
        capacity_bytes: what it holds.

    Attributes:
        batches: for how many batches a line outlives its last use here; inf when everything fits.
        found: name of the rows, and their footprint, to the part of look-ups that find theirs here.
        cyclic: part of what comes round once a batch that is still here. LRU keeps all (T >= 1) or nothing; real
            caches are not that exact, so the edge is a ramp.
        spread_bytes: over how much memory the look-ups go that find nothing here: as wide as if each of its bytes were
            equally often asked for (the inverse participation ratio).
    """

    def __init__(self, users: Sequence[Traffic], capacity_bytes: float) -> None:
        traffic = users[0] if len(users) == 1 else merged(users)
        prints = [footprint for _, footprint in traffic.lookups]
        bytes_G = np.concatenate([np.zeros(0), *(p.bytes_G for p in prints)])
        rate_G = np.concatenate(
            [np.zeros(0), *(n * p.rate_G for p, n in zip(prints, traffic.lookups.values(), strict=True))]
        )
        cyclic_bytes = sum(traffic.streamed_bytes.values()) + traffic.own_bytes
        self.batches = characteristic_batches(bytes_G, rate_G, cyclic_bytes, traffic.fresh_bytes, capacity_bytes)
        hit_G = np.ones_like(rate_G) if np.isinf(self.batches) else -np.expm1(-rate_G * self.batches)
        self.found = self._found(traffic, prints, hit_G)
        self.spread_bytes = _spread(bytes_G, rate_G * bytes_G * (1 - hit_G))
        self.cyclic = min(max(2 * self.batches - 1, 0.0), 1.0)

    @staticmethod
    def _found(traffic: Traffic, prints: Sequence[Footprint], hit_G: Floats) -> dict[tuple[str, Footprint], float]:
        if not prints:
            return {}
        share_G = np.concatenate([p.share_G for p in prints])
        starts = np.cumsum([0, *(len(p.share_G) for p in prints[:-1])])
        return dict(zip(traffic.lookups, np.add.reduceat(share_G * hit_G, starts).tolist(), strict=True))


def _spread(bytes_G: Floats, asked_G: Floats) -> float:
    """Bytes that would be asked for as unevenly as these are, if each were asked for equally often."""
    squares = float((asked_G**2 / np.maximum(bytes_G, 1.0)).sum())
    return float(asked_G.sum()) ** 2 / squares if squares > 0 else 0.0


def shares(found: Sequence[float]) -> tuple[float, ...]:
    """Where reads end, for caches that would find `found` of them each; the last share is that of memory.

    An inner cache's content counts as held by the outer ones too.
    """
    parts, inside = [], 0.0
    for part in found:
        parts.append(max(part - inside, 0.0))
        inside = max(inside, part)
    return (*parts, 1.0 - inside)
