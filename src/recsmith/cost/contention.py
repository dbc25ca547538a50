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


def characteristic_batches(traffic: Traffic, capacity_bytes: float) -> float:
    """T: for how many batches a line outlives its last use in a cache of `capacity_bytes`; inf when all fits."""
    bytes_G = np.concatenate([np.zeros(0), *(footprint.bytes_G for _, footprint in traffic.lookups)])
    rate_G = np.concatenate([np.zeros(0), *(n * footprint.rate_G for (_, footprint), n in traffic.lookups.items())])
    cyclic_bytes = sum(traffic.streamed_bytes.values()) + traffic.own_bytes
    return solve(bytes_G, rate_G, cyclic_bytes, traffic.fresh_bytes, capacity_bytes)


def solve(bytes_G: Floats, rate_G: Floats, cyclic_bytes: float, fresh_bytes: float, capacity_bytes: float) -> float:
    """T in batches, for classes of `bytes_G` whose lines are touched `rate_G` times a batch.

    What is in the cache after T batches grows with T and bends downwards, so Newton's steps from the left
    never overshoot.
    """
    asked_G = bytes_G[rate_G > 0]
    if fresh_bytes <= 0 and asked_G.sum() + cyclic_bytes <= capacity_bytes:
        return float("inf")
    batches = 0.0
    for _ in range(_STEPS):
        missing_G = bytes_G * np.exp(-rate_G * batches)
        held = (bytes_G - missing_G).sum() + cyclic_bytes * min(1.0, batches) + fresh_bytes * batches
        slope = (rate_G * missing_G).sum() + cyclic_bytes * (batches < 1) + fresh_bytes
        if slope <= 0:
            return float("inf")
        step = (capacity_bytes - held) / slope
        batches += max(step, 0.0)
        if step <= _PRECISION * batches:
            break
    return batches


class SharedCache:
    """A cache as those who use it find it.

    Args:
        users: what each user sends through it.
        capacity_bytes: what it holds.
    """

    def __init__(self, users: Sequence[Traffic], capacity_bytes: float) -> None:
        self.traffic = users[0] if len(users) == 1 else merged(users)
        self.batches = characteristic_batches(self.traffic, capacity_bytes)
        self._found: dict[tuple[str, Footprint], Floats] = {}

    def found_G(self, rows: str, footprint: Footprint) -> Floats:
        """[G] probability that a line of `rows` is found here."""
        key = (rows, footprint)
        if key not in self._found:
            self._found[key] = hits(footprint, self.traffic.lookups[key], self.batches)
        return self._found[key]

    @property
    def cyclic(self) -> float:
        """Part of what comes round once a batch that is still here.

        LRU keeps all (T >= 1) or nothing; real caches are not that exact, so the edge is a ramp.
        """
        return float(np.clip(2 * self.batches - 1, 0.0, 1.0))


def hits(footprint: Footprint, count: float, batches: float) -> Floats:
    """[G] probability that a line is found, for `count` look-ups a batch and characteristic time `batches`."""
    if np.isinf(batches):
        return np.ones_like(footprint.rate_G)
    return -np.expm1(-count * footprint.rate_G * batches)


def shares(found: Sequence[float]) -> tuple[float, ...]:
    """Where reads end, for caches that would find `found` of them each; the last share is that of memory.

    An inner cache's content counts as held by the outer ones too.
    """
    parts, inside = [], 0.0
    for part in found:
        parts.append(max(part - inside, 0.0))
        inside = max(inside, part)
    return (*parts, 1.0 - inside)
