"""Kernel parameters for placements, from the platform's curves or by rule of thumb (ours)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from recsmith.cost.machine import label
from recsmith.spec import Bucket, Estimate, Memory, Placement, Platform, Tuning, Workload
from recsmith.spec.platform import PrefetchLevel, RowAccess

from .evaluate import Pricer

WIDE_ROW_BYTES = 256
DISTANCE_ROWS = 24
SHORT_BAG = 2.0
"""Ids a bag below which rows are tuned as single vectors."""
STREAM_GAIN = 0.95
"""Stores past the caches have to win by this factor: whoever reads the output next finds it cold."""


def tune(bucket: Bucket, pricer: Pricer, workloads: Sequence[Workload]) -> Bucket:
    """`bucket` with kernel parameters: prefetching by where each placement's rows are found, stores by price."""
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
    streaming = _streaming(prefetching)
    if _output_is_large(platform, pricer, workloads):
        gain = pricer.seconds(streaming, workloads) / pricer.seconds(prefetching, workloads)
        return streaming if gain < STREAM_GAIN else prefetching
    return prefetching


Where = tuple[str, int]


def _where_rows_are(bucket: Bucket, pricer: Pricer, workloads: Sequence[Workload]) -> dict[Where, str]:
    """For each placement, the memory whose rows take most of its time."""
    most: dict[Where, tuple[float, str]] = {}
    for workload in workloads:
        for stage in pricer.price(bucket, workload).stages:
            for parts in stage.values():
                for placement, estimate in parts:
                    if placement is not None:
                        key = (placement.feature, placement.shard.start)
                        most[key] = max(most.get(key, (0.0, "")), _slowest(estimate))
    return {key: name for key, (_, name) in most.items()}


def _slowest(estimate: Estimate) -> tuple[float, str]:
    rows = [(seconds, part[5:]) for part, seconds in estimate.breakdown.items() if part.startswith("rows ")]
    return max(rows, default=(0.0, ""))


def _tuning(
    placement: Placement, where: str, pricer: Pricer, workloads: Sequence[Workload], platform: Platform
) -> Tuning:
    table = pricer.table(placement.feature)
    row_bytes = table.format.row_bytes(table.dim)
    memory = _memory(platform, placement.cores[0], where)
    if memory is None:
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


def _output_is_large(platform: Platform, pricer: Pricer, workloads: Sequence[Workload]) -> bool:
    """Whether the output of every workload exceeds all private caches together, so that nobody finds it there."""
    private = sum(m.capacity_bytes for m in platform.memories if m.kind == "cache" and len(m.cores) == 1)
    width_bytes = 4 * pricer.problem.model.width
    return all(workload.batch * width_bytes > private for workload in workloads)


def _with_tuning(bucket: Bucket, tunings: Mapping[Where, Tuning]) -> Bucket:
    return _map(bucket, lambda p: msgspec.structs.replace(p, tuning=tunings[p.feature, p.shard.start]))


def _streaming(bucket: Bucket) -> Bucket:
    """Stores past the caches, but not of partial sums, which are read again at once."""
    return _map(
        bucket,
        lambda p: (
            p
            if p.reduce == "add"
            else msgspec.structs.replace(p, tuning=msgspec.structs.replace(p.tuning, stores="stream"))
        ),
    )


def _map(bucket: Bucket, change: Callable[[Placement], Placement]) -> Bucket:
    stages = tuple(
        msgspec.structs.replace(stage, placements=tuple(map(change, stage.placements))) for stage in bucket.stages
    )
    return msgspec.structs.replace(bucket, stages=stages)
