"""Up to which batch one core is faster than several (ours)."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from recsmith.spec import Bucket, Workload

from .evaluate import Pricer

LARGEST = 1 << 16


def largest_single_core_batch(pricer: Pricer, single: Bucket, several: Bucket, workloads: Sequence[Workload]) -> int:
    """The largest batch for which `single` is predicted to be no slower than `several`; 0 when there is none.

    Both grow with the batch, `single` faster, while the hand-off stays: so there is one crossing, found by halving.
    """

    def wins(batch: int) -> bool:
        sized = [replace(workload, batch=batch) for workload in workloads]
        return pricer.seconds(single, sized) <= pricer.seconds(several, sized)

    if not wins(1):
        return 0
    low, high = 1, 2
    while high < LARGEST and wins(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if wins(middle) else (low, middle)
    return low
