"""What is worth timing beside a predicted bucket (ours).

Prices tell mappings apart by tenths, the order and the stores of writing often not: these finalists differ in them, and
in whether vectors are written at all before they are multiplied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from recsmith.spec import Bucket, Placement, PlanError, Strategy, Tuning, Workload

from .evaluate import Pricer
from .fused import fused, stays_near
from .greedy import symmetric_or_none
from .symmetric import replicated
from .writing import in_tiles, mapped, past_caches

PREDICTED = "as predicted"
FURTHER_ROWS, SHORT_ROW_BYTES = 32, 132
"""Rows that are asked for ahead in the way that looks furthest; twice as many short ones. One id a bag (criteo_kaggle,
concatenated, batch 2048, 1 thread): 222 us as planned and 194 so with 16 columns, 783 and 699 with 64, where twice as
many rows took 742. Bags of rows in few bits (mlperf_dlrm_v2, 128 columns, batch 2048, 1 thread), 32 and 64 ahead: int4
5103 and 4172 us, int8 4834 and 4152 (AMD EPYC 26/2/1, 2026-11-21)."""
FEW_SAMPLES = 512
"""Batches up to this size may be done sooner by the caller alone."""


def finalists(bucket: Bucket, pricer: Pricer, workloads: Sequence[Workload]) -> dict[str, Bucket]:
    """`bucket`, the symmetric mapping as it is planned, fused where there is something to multiply and, row by row, in
    every way of writing; those that differ.
    """
    cores = [core.id for core in pricer.problem.platform.cores]
    crews = {"all cores": cores}
    if len(cores) > 1 and max(workload.batch for workload in workloads) <= FEW_SAMPLES:
        crews["one core"] = cores[:1]
    by_rows = Pricer(pricer.problem, row_strategies(pricer), pricer.cost)
    ways = {} if (even := symmetric_or_none(pricer, workloads)) is None else {"symmetric": even}
    for crew, ids in crews.items():
        ways |= {f"fused, {crew}": way for way in _fused(pricer, ids, workloads)}
        ways |= {f"{name}, {crew}": way for name, way in _ways(by_rows, ids, workloads).items()}
    found = {PREDICTED: bucket}
    for name, way in ways.items():
        if all(way.stages != other.stages for other in found.values()):
            found[name] = replace(way, batch_up_to=bucket.batch_up_to)
    return found


def _fused(pricer: Pricer, cores: Sequence[str], workloads: Sequence[Workload]) -> list[Bucket]:
    """The symmetric mapping on `cores` with its vectors multiplied where they are; none without products."""
    if not pricer.joining.present:
        return []
    try:
        return [fused(replicated(pricer, cores, workloads), pricer)]
    except PlanError:
        return []


def row_strategies(pricer: Pricer) -> dict[str, Strategy]:
    """The allowed strategies that take row after row from where the tables lie."""
    shards = [(pricer.table(feature), pricer.whole(feature)) for feature in pricer.ops]

    def stages(strategy: Strategy) -> bool:
        return any("staging" in strategy.resident(table, shard) for table, shard in shards)

    return {name: strategy for name, strategy in pricer.strategies.items() if not stages(strategy)}


def _ways(pricer: Pricer, cores: Sequence[str], workloads: Sequence[Workload]) -> Mapping[str, Bucket]:
    if not pricer.strategies:
        return {}
    try:
        even = mapped(replicated(pricer, cores, workloads), _plain)
    except PlanError:
        return {}
    tiles = in_tiles(even, pricer, workloads)
    ways = {"feature by feature": even} | ({"in tiles": tiles} if tiles is not None else {})
    ways |= {f"{name} past the caches": past_caches(way) for name, way in ways.items()}
    return ways | {"feature by feature, further ahead": mapped(even, lambda p: _further(p, pricer))}


def _further(placement: Placement, pricer: Pricer) -> Placement:
    """`placement` with its rows prefetched from further ahead, unless its table stays near by itself."""
    table = pricer.table(placement.feature)
    short = table.format.row_bytes(table.dim) <= SHORT_ROW_BYTES
    ahead = Tuning(prefetch_distance=2 * FURTHER_ROWS if short else FURTHER_ROWS, prefetch_level="t0")
    return replace(placement, tuning=Tuning() if stays_near(placement, pricer) else ahead)


def _plain(placement: Placement) -> Placement:
    return replace(placement, tuning=replace(placement.tuning, stores="regular", block=0))
