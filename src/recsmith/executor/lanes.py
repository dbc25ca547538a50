"""Which threads serve a plan's cores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import recsmith._native as _native
from recsmith.spec import Plan, Platform


@dataclass(frozen=True, slots=True)
class Lanes:
    """Threads and the cores they act as; lane 0 is the caller.

    Attributes:
        of: core id to lane. Several cores share a lane when this process may use fewer processors than the plan has.
        processors: of each lane.
    """

    of: dict[str, int]
    processors: tuple[int, ...]


def assign(plan: Plan, platform: Platform) -> Lanes:
    """Lanes for all cores of a plan, on processors that this process may use (affinity and control-group quota)."""
    allowed = _native.allowed_processors()
    return choose(plan, platform, allowed, min(len(allowed), _native.quota_processors()))


def choose(plan: Plan, platform: Platform, allowed: Sequence[int], most: int) -> Lanes:
    """Lanes on at most `most` of the `allowed` processors."""
    # Buckets of one core run on the caller's thread, whatever core they name.
    named = {core for bucket in plan.buckets if len(bucket.cores) > 1 for core in bucket.cores}
    # In the platform's order, whatever the plan lists first: all plans for a machine leave the same processor to the
    # caller, so a caller that is pinned there suits each of them.
    cores = [core.id for core in platform.cores if core.id in named]
    count = max(1, min(len(cores), most))
    wanted = [platform.core(core).index for core in cores][:count]
    free = [processor for processor in allowed if processor not in wanted]
    processors = [index if index in allowed else free.pop(0) for index in wanted] or [allowed[0]]
    return Lanes({core: i % count for i, core in enumerate(cores)}, tuple(processors))
