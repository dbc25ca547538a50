"""Up to which batch one mapping is faster than another (ours)."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from recsmith.spec import Bucket, Workload

from .evaluate import Pricer

LARGEST = 1 << 16


def largest_batch(
    pricer: Pricer,
    small: Bucket,
    large: Bucket,
    workloads: Sequence[Workload],
    most: int | None = None,
    margin: float = 0.0,
) -> int:
    """The largest batch, at most `most`, for which `small` is predicted to be no slower than `large`; 0 for none.

    `small` has to be faster by the part `margin` (may be slower, when that is negative). What is faster for small
    batches is so up to one crossing, found by halving.
    """
    limit = LARGEST if most is None else most

    def wins(batch: int) -> bool:
        sized = [replace(workload, batch=batch) for workload in workloads]
        return pricer.seconds(small, sized) <= (1 - margin) * pricer.seconds(large, sized)

    if limit < 1 or not wins(1):
        return 0
    low, high = 1, 2
    while high <= limit and wins(high):
        low, high = high, 2 * high
    high = min(high, limit + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if wins(middle) else (low, middle)
    return low
