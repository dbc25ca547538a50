"""Fusing look-ups with the interaction: symmetric, so that a core has all vectors of its samples (ours)."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from recsmith.spec import Bucket, CostModel, Fuse, Placement, Plan, PlanError, Problem, Stage, Strategy, Tuning

from .draft import drafted
from .evaluate import Pricer
from .symmetric import replicated

BLOCK = 128
"""Samples whose ids are checked, then looked up and multiplied. Of 16 to 256, 128 was as fast as any (criteo_kaggle,
dim 16, batch 2048, 1 thread: from 222 ns a sample with 16 to 200 with 256; AMD EPYC 26/2/1, 2026-11-21)."""
NEAR_SHARE = 1 / 64
"""Tables of up to this part of a private cache stay near by themselves; others' rows are prefetched. With an eighth
instead it took 767 ns a sample and not 614 (criteo_kaggle, dim 64, batch 2048, 1 thread, same machine)."""
STREAMED_SHARE = 1 / 4
"""Long rows that are added up are read in order, which processors foresee: those of tables of up to this part of the
last cache are not prefetched (512 columns, with and without: 26 and 28 ns a row in 7 MB, 39 and
70 in 23; same machine)."""
AHEAD = Tuning(prefetch_distance=2, prefetch_level="t0")
"""Of tables that caches hold: rows are asked for singly, so few samples ahead that they are still near when used."""
FAR_AHEAD = Tuning(prefetch_distance=8, prefetch_level="t0")
"""Of tables beyond the last cache, each of whose rows lies on another page: asked for in bursts of so many samples."""


class Fused:
    """The symmetric mapping, fused."""

    name = "fused"

    def plan(self, problem: Problem, strategies: Mapping[str, Strategy], cost: CostModel) -> Plan:
        """One bucket, one placement a feature, spread over all cores and fused with the interaction.

        Raises:
            PlanError: a table fits with none of the strategies, or the model has nothing to fuse with.
        """
        if not fusible(problem):
            raise PlanError(
                "plan", f"model '{problem.model.name}' has no interaction to fuse with", "Choose planner 'symmetric'."
            )
        pricer = Pricer(problem, strategies, cost)
        cores = [core.id for core in problem.platform.cores]
        bucket = replicated(pricer, cores, problem.objective.workloads)
        return drafted(pricer, self.name, (fused(bucket, pricer),))


def fusible(problem: Problem) -> bool:
    """Whether all features are looked up, pooled, and have an interaction to be fused with."""
    model = problem.model
    pooled = all(feature.pooling != "none" for feature in model.features)
    return model.interaction is not None and pooled and len(problem.gathers) == len(problem.ops)


def fused_beside(bucket: Bucket, symmetric: Bucket, pricer: Pricer) -> Bucket | None:
    """The tables that single cores own in `bucket` written first, the others as in `symmetric` and fused; None when
    there are no others, or none is owned.
    """
    placements = [placement for stage in bucket.stages for placement in stage.placements]
    owned = {p.feature for p in placements if len(p.cores) == 1}
    first = tuple(p for p in placements if p.feature in owned)
    rest = tuple(p for p in symmetric.stages[0].placements if p.feature not in owned)
    if not first or not rest:
        return None
    return fused(replace(bucket, stages=(Stage(first), Stage(rest))), pricer)


def fused(bucket: Bucket, pricer: Pricer) -> Bucket:
    """`bucket`, whose cores divide the samples alike in its last stage, with that stage fused.

    Rows are prefetched some samples ahead, into the first cache: they are multiplied from where they are.
    """
    interaction = pricer.problem.model.interaction
    assert interaction is not None
    *before, last = bucket.stages
    placements = tuple(replace(p, tuning=_tuning(p, pricer)) for p in last.placements)
    return replace(bucket, stages=(*before, replace(last, placements=placements, output=Fuse(interaction.kind, BLOCK))))


def stays_near(placement: Placement, pricer: Pricer) -> bool:
    """Whether the placement's table is so small that its rows stay near without being asked for."""
    private_bytes, _ = _cache_bytes(placement, pricer)
    return pricer.table(placement.feature).nbytes <= NEAR_SHARE * private_bytes


def _tuning(placement: Placement, pricer: Pricer) -> Tuning:
    _, cached_bytes = _cache_bytes(placement, pricer)
    nbytes = pricer.table(placement.feature).nbytes
    interaction = pricer.problem.model.interaction
    if interaction is not None and interaction.kind in ("sum", "sum_relu"):
        return Tuning() if nbytes <= STREAMED_SHARE * cached_bytes else AHEAD
    if stays_near(placement, pricer):
        return Tuning()
    return AHEAD if nbytes <= cached_bytes else FAR_AHEAD


def _cache_bytes(placement: Placement, pricer: Pricer) -> tuple[int, int]:
    """Of the largest private cache, and of the largest cache."""
    platform = pricer.problem.platform
    reached = platform.core(placement.cores[0]).memories
    caches = [memory for memory in platform.memories if memory.id in reached and memory.kind == "cache"]
    private_bytes = max((memory.capacity_bytes for memory in caches if len(memory.cores) == 1), default=0)
    return private_bytes, max((memory.capacity_bytes for memory in caches), default=0)
