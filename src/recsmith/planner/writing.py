"""In which order and with which stores vectors are written: by price (ours).

Feature by feature is the usual order: a kernel serves a feature for all samples, and its vectors lie a sample's
output apart. Neighbouring features with one id a sample can also be written in tiles, a few samples of each in turn:
the output is then filled nearly in order. Either may go past the caches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from recsmith.spec import Bucket, Feature, Placement, Stage, Workload

from .evaluate import Pricer

BLOCK = 256
"""Samples that are served in tiles, or not, together: it does not matter to them whether others have one id."""
FEWEST_NEIGHBOURS = 4
"""The executor serves so many neighbours and more in tiles."""
GAIN = 0.95
"""A way has to win by this factor over those before it: the usual one, in order, in order past the caches."""


def best_writing(bucket: Bucket, pricer: Pricer, workloads: Sequence[Workload]) -> Bucket:
    """`bucket` with its vectors written in the cheapest way.

    Past the caches only where the output exceeds the private ones: whoever reads it next finds it cold.
    """
    tiles = in_tiles(bucket, pricer, workloads)
    ways = [bucket] if tiles is None else [bucket, tiles]
    if _output_is_large(pricer, workloads):
        ways += [past_caches(way) for way in reversed(ways)]
    best, least = bucket, pricer.seconds(bucket, workloads)
    for way in ways[1:]:
        seconds = pricer.seconds(way, workloads)
        if seconds < GAIN * least:
            best, least = way, seconds
    return best


def in_tiles(bucket: Bucket, pricer: Pricer, workloads: Sequence[Workload]) -> Bucket | None:
    """`bucket` with vectors written in tiles where that is possible; None when it is nowhere."""
    if len(bucket.stages) != 1:
        return None
    able = {p.feature: p for p in bucket.stages[0].placements if _tileable(p, pricer, workloads)}
    together: set[str] = set()
    for run in _runs(pricer, able):
        if len(run) >= FEWEST_NEIGHBOURS:
            together.update(run)
    if not together:
        return None
    return mapped(bucket, lambda p: _by_rows(p, pricer) if p.feature in together else p)


def past_caches(bucket: Bucket) -> Bucket:
    """`bucket` with stores past the caches, except for partial sums, which are read again at once."""
    return mapped(bucket, lambda p: p if p.reduce == "add" else replace(p, tuning=replace(p.tuning, stores="stream")))


def mapped(bucket: Bucket, change: Callable[[Placement], Placement]) -> Bucket:
    """`bucket` with every placement changed."""
    stages: tuple[Stage, ...] = tuple(
        replace(stage, placements=tuple(map(change, stage.placements))) for stage in bucket.stages
    )
    return replace(bucket, stages=stages)


def _tileable(placement: Placement, pricer: Pricer, workloads: Sequence[Workload]) -> bool:
    """Whether every vector is one stored row as it is."""
    feature = _feature(placement.feature, pricer)
    whole = placement.shard == pricer.whole(placement.feature) and placement.reduce == "none"
    plain = feature.pooling != "none" and not feature.weighted and feature.padding_id is None
    single = all(workload.access(placement.feature).pooling_factor == 1 for workload in workloads)
    return whole and plain and single and feature.id_map.kind != "modulo" and _row_strategy(placement, pricer) != ""


def _runs(pricer: Pricer, able: dict[str, Placement]) -> list[list[str]]:
    """Neighbours in the model's order that the same cores serve for the same samples, from rows of one kind."""
    found: list[list[str]] = []
    last: object = None
    for feature in pricer.problem.model.features:
        placement = able.get(feature.name)
        table = pricer.table(feature.name)
        kind = placement and (placement.cores, placement.samples, table.dim, table.format.dtype)
        if kind is not None and kind == last:
            found[-1].append(feature.name)
        elif kind is not None:
            found.append([feature.name])
        last = kind
    return found


def _by_rows(placement: Placement, pricer: Pricer) -> Placement:
    strategy = _row_strategy(placement, pricer)
    return replace(placement, strategy=strategy, tuning=replace(placement.tuning, block=BLOCK))


def _row_strategy(placement: Placement, pricer: Pricer) -> str:
    """Its strategy, or the first allowed one, that takes row after row from where the table lies; "" for none."""
    table = pricer.table(placement.feature)
    names = (placement.strategy, *pricer.strategies)
    return next((n for n in names if "staging" not in pricer.strategies[n].resident(table, placement.shard)), "")


def _feature(name: str, pricer: Pricer) -> Feature:
    return next(feature for feature in pricer.problem.model.features if feature.name == name)


def _output_is_large(pricer: Pricer, workloads: Sequence[Workload]) -> bool:
    """Whether the output of every workload exceeds the inner caches of all cores, so that nobody finds it there."""
    platform = pricer.problem.platform
    inner = 0
    for core in platform.cores:
        caches = [m for m in map(platform.memory, core.memories) if m.kind == "cache"]
        inner += sum(memory.capacity_bytes for memory in caches[:-1])
    width_bytes = 4 * pricer.problem.model.width
    return all(workload.batch * width_bytes > inner for workload in workloads)
