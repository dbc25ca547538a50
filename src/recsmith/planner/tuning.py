"""Kernel parameters for placements, from the platform's curves or by rule of thumb (ours)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from recsmith.cost.machine import label
from recsmith.spec import Bucket, Estimate, Memory, Placement, Platform, Tuning, Workload
from recsmith.spec.platform import PrefetchLevel, RowAccess

from .evaluate import Pricer
from .writing import best_writing, mapped

WIDE_ROW_BYTES = 256
DISTANCE_ROWS = 24
RARE = 0.1
"""Part of its rows' time (prefetched) up to which a placement's far rows are not asked for ahead. An id that needs no
prefetch pays about a fifth of a near row for it, one that needs it and has none waits for several far rows."""
SHORT_BAG = 2.0
"""Ids a bag below which rows are tuned as single vectors."""


def tune(bucket: Bucket, pricer: Pricer, workloads: Sequence[Workload]) -> Bucket:
    """`bucket` with kernel parameters: prefetching by where each placement's rows are found, writing by price."""
    where = _where_rows_are(bucket, pricer, workloads)
    platform = pricer.problem.platform
    prefetching = _with_tuning(
        bucket,
        {
            (p.feature, p.shard.start): _tuning(
                p, where.get((p.feature, p.shard.start), ""), pricer, workloads, platform
            )
            for stage in bucket.stages
            for p in stage.placements
        },
    )
    return best_writing(prefetching, pricer, workloads)


Where = tuple[str, int]


def _where_rows_are(bucket: Bucket, pricer: Pricer, workloads: Sequence[Workload]) -> dict[Where, str]:
    """For each placement, the farthest memory that its rows come from often enough to be asked for ahead."""
    platform = pricer.problem.platform
    most: dict[Where, tuple[float, str]] = {}
    for workload in workloads:
        for stage in pricer.price(bucket, workload).stages:
            for core, parts in stage.items():
                outwards = [label(platform.memory(id)) for id in platform.core(core).memories]
                for placement, estimate in parts:
                    if placement is not None:
                        key = (placement.feature, placement.shard.start)
                        most[key] = max(most.get(key, (0.0, "")), _farthest(estimate, outwards))
    return {key: name for key, (_, name) in most.items()}


def _farthest(estimate: Estimate, outwards: Sequence[str]) -> tuple[float, str]:
    """Seconds of all rows, and the memory from which outwards `RARE` of them are spent."""
    rows = {part[5:]: seconds for part, seconds in estimate.breakdown.items() if part[:5] in ("rows ", "bags ")}
    total, beyond = sum(rows.values()), 0.0
    for name in reversed(outwards):
        beyond += rows.get(name, 0.0)
        if beyond > RARE * total:
            return total, name
    return total, ""


def _tuning(
    placement: Placement, where: str, pricer: Pricer, workloads: Sequence[Workload], platform: Platform
) -> Tuning:
    table = pricer.table(placement.feature)
    row_bytes = table.format.row_bytes(table.dim)
    memory = _memory(platform, placement.cores[0], where)
    if memory is None or "hides-latency" in platform.capabilities:
        return Tuning()
    if platform.source == "measured":
        access: RowAccess = "copy" if _one_at_a_time(pricer, placement.feature, workloads) else "gather"
        samples = max(1, max(w.batch for w in workloads) // len(placement.cores))
        found = memory.tuning(access, row_bytes, samples, len(platform.cores), "huge")
        if found is not None:
            return msgspec.structs.replace(found, stores="regular")
    return rule_of_thumb(row_bytes, memory)


def _one_at_a_time(pricer: Pricer, feature: str, workloads: Sequence[Workload]) -> bool:
    """Whether most rows are a vector of their own: bags of one, or no pooling."""
    unpooled = pricer.ops[feature].pooling == "none"
    return unpooled or max(w.access(feature).pooling_factor for w in workloads) < SHORT_BAG


def rule_of_thumb(row_bytes: int, memory: Memory) -> Tuning:
    """Prefetching for rows found in `memory` of an unmeasured machine.

    A private cache answers before a hint could help. Wide rows go to the second level, since several lines a
    row would crowd the first.
    """
    if memory.kind == "scratchpad" or (len(memory.cores) == 1 and memory.kind == "cache"):
        return Tuning()
    level: PrefetchLevel = "t1" if row_bytes >= WIDE_ROW_BYTES else "t0"
    return Tuning(prefetch_distance=DISTANCE_ROWS, prefetch_level=level)


def _memory(platform: Platform, core: str, where: str) -> Memory | None:
    ids = platform.core(core).memories
    found = [memory for memory in platform.memories if memory.id in ids and label(memory) == where]
    return found[0] if found else None


def _with_tuning(bucket: Bucket, tunings: Mapping[Where, Tuning]) -> Bucket:
    return mapped(bucket, lambda p: msgspec.structs.replace(p, tuning=tunings[p.feature, p.shard.start]))
