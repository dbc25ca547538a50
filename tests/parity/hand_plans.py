"""Plans made by hand or by chance, to run the executor on."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np

from recsmith.executor import CpuExecutable, compile
from recsmith.spec import (
    Bucket,
    Fuse,
    Interval,
    Model,
    Objective,
    Placement,
    Plan,
    Platform,
    Shard,
    Stage,
    Tuning,
    Weights,
)
from recsmith.testing.machines import cached_machine

MACHINE = cached_machine(cores=2)
CORES = tuple(core.id for core in MACHINE.cores)
NO_TUNING = Tuning()
FLOWS = ("gm", "l1", "gm_ub", "l1_ub")


def plan_of(model: Model, *buckets: Bucket, machine: Platform = MACHINE) -> Plan:
    return Plan("by hand", model.digest(), machine.machine, Objective(()), "hand", buckets)


def whole(model: Model, feature: int) -> Shard:
    table = model.table_of(model.features[feature])
    return Shard(table.name, 0, table.rows)


def symmetric(model: Model, strategy: str = "gm", tuning: Tuning = NO_TUNING) -> Plan:
    placements = tuple(
        Placement(f.name, whole(model, i), CORES, strategy, tuning=tuning) for i, f in enumerate(model.features)
    )
    return plan_of(model, Bucket(None, (Stage(placements),)))


def alone(model: Model, strategy: str = "gm") -> Plan:
    placements = tuple(Placement(f.name, whole(model, i), CORES[:1], strategy) for i, f in enumerate(model.features))
    return plan_of(model, Bucket(None, (Stage(placements),)))


def owned(model: Model, strategy: str = "l1") -> Plan:
    placements = tuple(
        Placement(f.name, whole(model, i), (CORES[i % 2],), strategy) for i, f in enumerate(model.features)
    )
    return plan_of(model, Bucket(None, (Stage(placements),)))


def row_shards(model: Model, strategy: str = "gm", parts: int = 3) -> Plan:
    """Every table with enough rows cut in `parts`, the shards on alternating cores."""
    placements = []
    for i, feature in enumerate(model.features):
        shard = whole(model, i)
        cuts = sorted({shard.stop * k // parts for k in range(parts + 1)})
        for k, (start, stop) in enumerate(pairwise(cuts)):
            placements.append(
                Placement(
                    feature.name, Shard(shard.table, start, stop), (CORES[k % 2],), strategy, reduce=_reduce(cuts)
                )
            )
    return plan_of(model, Bucket(None, (Stage(tuple(placements)),)))


def mixed(model: Model) -> Plan:
    """A small bucket on one core; a large one with sharded first features and a second, symmetric stage."""
    small = alone(model).buckets[0].stages
    half = (len(model.features) + 1) // 2
    sharded = tuple(p for p in row_shards(model).buckets[0].stages[0].placements if _index(model, p) < half)
    rest = tuple(p for p in symmetric(model).buckets[0].stages[0].placements if _index(model, p) >= half)
    stages = tuple(Stage(placements) for placements in (sharded, rest) if placements)
    return plan_of(model, Bucket(4, small), Bucket(None, stages))


def fused(model: Model, block: int = 16, tuning: Tuning = NO_TUNING, strategy: str = "gm") -> Plan:
    """All features on both cores, fused with the interaction."""
    stage = symmetric(model, strategy, tuning).buckets[0].stages[0]
    return plan_of(model, Bucket(None, (Stage(stage.placements, _fuse(model, block)),)))


def fused_alone(model: Model, block: int = 16) -> Plan:
    """The same on one core."""
    return plan_of(model, Bucket(None, (Stage(alone(model).buckets[0].stages[0].placements, _fuse(model, block)),)))


def owned_then_fused(model: Model, block: int = 16) -> Plan:
    """Every other feature owned by a core and written out, the rest fused."""
    return _then_fused(model, owned(model), block)


def shards_then_fused(model: Model, block: int = 16) -> Plan:
    """Every other feature in row shards, the rest fused."""
    return _then_fused(model, row_shards(model), block)


def _then_fused(model: Model, before: Plan, block: int) -> Plan:
    first = tuple(p for p in before.buckets[0].stages[0].placements if _index(model, p) % 2 == 0)
    rest = tuple(p for p in symmetric(model).buckets[0].stages[0].placements if _index(model, p) % 2 == 1)
    stages = (Stage(first), Stage(rest, _fuse(model, block))) if rest else (Stage(first),)
    return plan_of(model, Bucket(None, stages))


def _fuse(model: Model, block: int) -> Fuse:
    assert model.interaction is not None
    return Fuse(model.interaction.kind, block)


def random_plan(model: Model, seed: int) -> Plan:
    """Every feature's rows x samples cut at random places into rectangles, on random cores with random flows."""
    draw = np.random.default_rng(seed)
    buckets = []
    for up_to in (3, None):
        stages: list[list[Placement]] = [[], []]
        for i, feature in enumerate(model.features):
            shard = whole(model, i)
            pieces = _tile(draw, shard.start, shard.stop, Fraction(0), Fraction(1), int(draw.integers(0, 4)))
            reduce = _reduce([shard.start, shard.stop] if all(p[:2] == pieces[0][:2] for p in pieces) else [0, 0, 0])
            for start, stop, first, last in pieces:
                stages[int(draw.integers(2))].append(
                    Placement(
                        feature.name,
                        Shard(shard.table, start, stop),
                        tuple(draw.permutation(CORES)[: int(draw.integers(1, 3))].tolist()),
                        str(draw.choice(FLOWS)),
                        Interval(first, last),
                        _tuning(draw),
                        reduce,
                    )
                )
        buckets.append(Bucket(up_to, tuple(Stage(tuple(stage)) for stage in stages if stage)))
    return plan_of(model, *buckets)


PLANS: dict[str, Callable[[Model], Plan]] = {
    "symmetric": symmetric,
    "alone": alone,
    "owned": owned,
    "row_shards": row_shards,
    "row_shards_ub": lambda model: row_shards(model, "gm_ub", 2),
    "mixed": mixed,
    "tuned": lambda model: symmetric(model, "gm", Tuning(8, "t1", 16, "stream")),
    "tuned_ahead": lambda model: symmetric(model, "gm", Tuning(24, "t0")),
}


FUSED_PLANS: dict[str, Callable[[Model], Plan]] = {
    "fused": fused,
    "fused_one_by_one": lambda model: fused(model, 1),
    "fused_at_once": lambda model: fused(model, 10_000),
    "fused_ahead": lambda model: fused(model, 24, Tuning(24, "t1")),
    "fused_l1_ub": lambda model: fused(model, 16, Tuning(8, "t0"), "l1_ub"),
    "fused_alone": fused_alone,
    "owned_then_fused": owned_then_fused,
    "shards_then_fused": shards_then_fused,
}


def build(model: Model, weights: Weights, plan: Plan, **options: object) -> CpuExecutable:
    return compile(model, plan, weights, platform=MACHINE, pages="4k", **options)  # type: ignore[arg-type]


def _reduce(cuts: list[int]) -> str:
    return "add" if len(cuts) > 2 else "none"


def _index(model: Model, placement: Placement) -> int:
    return [feature.name for feature in model.features].index(placement.feature)


def _tuning(draw: np.random.Generator) -> Tuning:
    levels = ("none", "t0", "t1", "nta")
    return Tuning(
        int(draw.integers(0, 40)),
        levels[int(draw.integers(4))],
        int(draw.choice([0, 0, 1, 5, 64])),
        "stream" if draw.integers(4) == 0 else "regular",
    )


def _tile(draw, start, stop, first, last, cuts):
    """Guillotine cuts of the rectangle [start, stop) x [first, last)."""
    if cuts == 0:
        return [(start, stop, first, last)]
    left = int(draw.integers(0, cuts))
    if stop - start > 1 and draw.integers(2):
        at = int(draw.integers(start + 1, stop))
        return _tile(draw, start, at, first, last, left) + _tile(draw, at, stop, first, last, cuts - 1 - left)
    at = first + (last - first) * Fraction(int(draw.integers(1, 7)), 7)
    return _tile(draw, start, stop, first, at, left) + _tile(draw, start, stop, at, last, cuts - 1 - left)
