"""Planners fuse look-ups with the interaction where that is predicted to be faster, and say so."""

import pytest
from msgspec.structs import replace

from recsmith.cost.fitted import FittedCost
from recsmith.planner import PLANNERS
from recsmith.planner.evaluate import Pricer
from recsmith.planner.explain import diff, explain
from recsmith.planner.fused import fused, fused_beside
from recsmith.spec import (
    Access,
    Feature,
    Fuse,
    Gather,
    Interaction,
    Mlp,
    Model,
    Objective,
    PlanError,
    Problem,
    Table,
    Workload,
    check,
)
from recsmith.strategies import STRATEGIES
from recsmith.testing.machines import cached_machine

ALL = {name: STRATEGIES[name]() for name in STRATEGIES}
COST = FittedCost()


def problem(kind="dot", pooling="sum", batch=2048, cores=2, rows=3000) -> Problem:
    names = [f"f{i}" for i in range(6)]
    tables = tuple(Table(name.upper(), rows * 7**i, 16) for i, name in enumerate(names))
    features = tuple(Feature(name, name.upper(), pooling if i == 0 else "sum") for i, name in enumerate(names))
    model = Model(
        "m",
        tables,
        features,
        4,
        Mlp((4, 16), ("relu",), "bottom"),
        Interaction(kind),
        Mlp((37 if kind == "dot" else 112, 1), ("sigmoid",), "top"),
    )
    ops = tuple(Gather(f.name, f.table, f.pooling) for f in features)
    workload = Workload("w", batch, tuple(Access(name) for name in names))
    machine = cached_machine(cores)
    machine = replace(machine, cores=tuple(replace(core, flops_per_s=1e11) for core in machine.cores))
    return Problem(model, ops, Objective((workload,)), machine)


def planned(planner, of):
    return PLANNERS[planner]().plan(of, ALL, COST)


@pytest.mark.parametrize("cores", [1, 2])
def test_auto_fuses_dots_and_the_plan_passes_the_check(cores):
    of = problem(cores=cores)
    plan = planned("auto", of)
    check(plan, of, ALL)
    assert all(bucket.fused == Fuse("dot", 128) for bucket in plan.buckets)
    assert plan.predicted[0].total.breakdown["products"] > 0


def test_what_is_fused_is_predicted_to_be_faster_than_what_is_written_first():
    of = problem()
    pricer = Pricer(of, ALL, COST)
    written = planned("symmetric", of)
    together = planned("fused", of)
    workloads = of.objective.workloads
    assert pricer.seconds(together.buckets[0], workloads) < pricer.seconds(written.buckets[0], workloads)
    parts = pricer.price(together.buckets[0], workloads[0]).total.breakdown
    assert parts["products"] == pytest.approx(
        pricer.price(written.buckets[0], workloads[0]).total.breakdown["products"]
    )


def test_concatenation_and_unpooled_features_are_not_fused_by_auto():
    for of in (problem("cat"), problem(pooling="none")):
        assert all(bucket.fused is None for bucket in planned("auto", of).buckets)


def test_the_fused_planner_says_what_it_cannot_fuse():
    of = problem()
    bare = replace(of, model=replace(of.model, bottom=None, interaction=None, top=None))
    with pytest.raises(PlanError, match="no interaction to fuse with"):
        planned("fused", bare)


def test_owned_tables_may_be_written_before_the_rest_is_fused():
    of = problem()
    pricer = Pricer(of, ALL, COST)
    symmetric = planned("symmetric", of).buckets[0]
    core = of.platform.cores[0].id
    placements = symmetric.stages[0].placements
    owned = replace(
        symmetric.stages[0], placements=(replace(placements[0], cores=(core,), strategy="gm"), *placements[1:])
    )
    bucket = fused_beside(replace(symmetric, stages=(owned,)), symmetric, pricer)
    plan = replace(planned("symmetric", of), buckets=(bucket,))
    check(plan, of, ALL)
    assert [len(stage.placements) for stage in bucket.stages] == [1, 5]
    assert fused_beside(symmetric, symmetric, pricer) is None
    assert pricer.seconds(bucket, of.objective.workloads) > 0


def test_explain_says_it_in_words():
    of = problem()
    plan = planned("fused", of)
    explained = explain(plan, of, ALL, COST)
    for feature in explained.batches[0].features:
        assert feature.way.endswith(", fused with the dot interaction, 128 samples at a time")
        assert feature.alternatives
    changes = diff(planned("symmetric", of), plan)
    assert len(changes) == 6 and all("fused with" in change.after for change in changes)


def test_fusing_changes_nothing_else():
    of = problem()
    pricer = Pricer(of, ALL, COST)
    symmetric = planned("symmetric", of).buckets[0]
    made = fused(symmetric, pricer)
    kept = [(p.feature, p.shard, p.cores, p.strategy) for p in symmetric.stages[0].placements]
    assert [(p.feature, p.shard, p.cores, p.strategy) for p in made.stages[0].placements] == kept


@pytest.mark.parametrize("rows", [1, 3000])
@pytest.mark.parametrize("batch", [1, 64, 2048])
@pytest.mark.parametrize("cores", [1, 2, 6])
def test_no_fused_plan_is_faster_than_the_bound(rows, batch, cores):
    of = problem(batch=batch, cores=cores, rows=rows)
    bounds = [p.lower_bound_s for p in planned("auto", of).predicted]
    assert 0 < bounds[0] <= planned("fused", of).predicted[0].total.seconds * (1 + 1e-9)
