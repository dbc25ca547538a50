"""How much of a shared cache is really ours.

In a virtual machine the operating system may report a host's whole last-level cache. Random dependent loads over
growing footprints tell: over a footprint of f bytes, a cache of C bytes holds min(1, C / f) of them, so
latency(f) = inside * C / f + outside * (1 - C / f) beyond C, which is solved for C (ours).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from .probes import Bench, Spot

_ITERATIONS = 20
# Points whose latency lies between these parts of the way from inside to outside say something about C.
_LOW, _HIGH = 0.15, 0.9


@dataclass(frozen=True)
class Step:
    """Latency over one footprint."""

    footprint_bytes: int
    seconds: float


def sweep(bench: Bench, spot: Spot, smallest_bytes: int, largest_bytes: int, rounds: int = 5) -> tuple[Step, ...]:
    """Latencies over footprints from `smallest_bytes` to `largest_bytes`, each 1.41 times the one before."""
    steps = []
    nbytes = float(smallest_bytes)
    while nbytes <= largest_bytes:
        here = replace(spot, footprint_bytes=int(nbytes) // 64 * 64)
        bench.warm(here)
        steps.append(Step(here.footprint_bytes, bench.latency(here, rounds).median_s))
        nbytes *= 2**0.5
    return tuple(steps)


def usable_bytes(steps: Sequence[Step], inner_bytes: int, reported_bytes: int) -> int:
    """Bytes that the cache outside one of `inner_bytes` holds for us, at most `reported_bytes`.

    Args:
        steps: latencies over growing footprints; those from twice `inner_bytes` on are used.
        reported_bytes: what the operating system says it holds.
    """
    seen = [step for step in steps if step.footprint_bytes >= 2 * inner_bytes]
    if len(seen) < 3:
        return reported_bytes
    # Noise only ever adds, so a later, faster step is the truer one.
    rising = [min(step.seconds for step in seen[at:]) for at in range(len(seen))]
    seen = [Step(step.footprint_bytes, seconds) for step, seconds in zip(seen, rising, strict=True)]
    inside, outside, largest = seen[0].seconds, seen[-1].seconds, seen[-1].footprint_bytes
    if outside < 1.5 * inside:
        # Nothing lies outside as far as we looked.
        return min(reported_bytes, largest)
    found = float(inner_bytes)
    for _ in range(_ITERATIONS):
        # The last step still finds a part in the cache.
        share = min(found / largest, 0.5)
        beyond = (outside - inside * share) / (1 - share)
        guesses = [
            step.footprint_bytes * (beyond - step.seconds) / (beyond - inside)
            for step in seen
            if _LOW <= (step.seconds - inside) / (beyond - inside) <= _HIGH
        ]
        found = median(guesses) if guesses else found
    return int(min(max(found, inner_bytes), reported_bytes))
