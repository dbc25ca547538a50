"""Planners on made-up machines: what they choose, and that it passes the check."""

import pytest

from recsmith.cost.fitted import FittedCost
from recsmith.planner import PLANNERS
from recsmith.planner.candidates import Candidate, Option, undominated
from recsmith.planner.evaluate import Pricer, evaluate
from recsmith.planner.greedy import rent_s_per_byte
from recsmith.spec import (
    Access,
    Feature,
    Gather,
    Model,
    Objective,
    PlanError,
    Problem,
    Table,
    Uniform,
    Workload,
    Zipf,
    check,
)
from recsmith.strategies import STRATEGIES
from recsmith.testing.machines import MIB, cached_machine, scratchpad_machine

ALL = {name: STRATEGIES[name]() for name in STRATEGIES}
UNIFORM = Uniform()
SIZES = (3_000_000, 1_000_000, 20_000, 20_000, 500, 100, 30, 3)
# `fused` wants an interaction, which these models do not have: test_plan_fused.py.
ANY_MODEL = [name for name in PLANNERS if name != "fused"]


def problem_of(
    sizes=SIZES, platform=None, batch=2048, dim=16, poolings=None, aim="mean", batches=None, ids=UNIFORM
) -> Problem:
    tables = tuple(Table(f"T{i}", rows, dim) for i, rows in enumerate(sizes))
    features = tuple(
        Feature(f"f{i}", table.name, pooling=(poolings or {}).get(i, "sum")) for i, table in enumerate(tables)
    )
    model = Model("made up", tables, features)
    workloads = tuple(
        Workload(f"b{b}", b, tuple(Access(f.name, ids=ids) for f in features)) for b in batches or (batch,)
    )
    ops = tuple(Gather(f.name, f.table, f.pooling) for f in features)
    return Problem(model, ops, Objective(workloads, aim=aim), platform or cached_machine(2))


def planned(name, problem, strategies=ALL):
    plan = PLANNERS[name]().plan(problem, strategies, FittedCost())
    check(plan, problem, strategies)
    return plan


def placements_of(plan, feature):
    return [p for b in plan.buckets for s in b.stages for p in s.placements if p.feature == feature]


@pytest.mark.parametrize("name", ANY_MODEL)
@pytest.mark.parametrize(
    "platform", [cached_machine(1), cached_machine(4), scratchpad_machine(4)], ids=lambda p: p.name
)
def test_every_planner_serves_everything(name, platform):
    problem = problem_of(platform=platform)
    plan = planned(name, problem)
    assert plan.planner == name
    assert [p.workload for p in plan.predicted] == ["b2048"]
    total = plan.predicted[0].total
    assert total.seconds == pytest.approx(sum(total.breakdown.values()))
    assert plan.predicted == evaluate(plan, problem, ALL, FittedCost()).predicted


@pytest.mark.parametrize("name", ANY_MODEL)
def test_planning_twice_gives_the_same_plan(name):
    problem = problem_of(platform=cached_machine(4))
    assert planned(name, problem) == planned(name, problem)


def test_symmetric_puts_every_table_on_every_core():
    problem = problem_of(platform=cached_machine(4))
    (bucket,) = planned("symmetric", problem).buckets
    assert all(len(p.cores) == 4 for p in bucket.stages[0].placements)


def test_symmetric_keeps_the_tables_that_save_most_in_a_scratchpad():
    problem = problem_of(platform=scratchpad_machine(4))
    plan = planned("symmetric", problem)
    chosen = {p.feature: p.strategy for p in plan.buckets[0].stages[0].placements}
    assert chosen["f0"] == "gm" and chosen["f1"] == "gm"
    assert all(chosen[f].startswith("l1") for f in ("f4", "f5", "f6", "f7"))


def test_greedy_uses_all_scratchpads_together():
    problem = problem_of(sizes=[12_000] * 8, platform=scratchpad_machine(8))  # 768 kB each, 1 MiB a core
    symmetric, greedy = planned("symmetric", problem), planned("greedy", problem)
    assert greedy.predicted[0].total.seconds < 0.8 * symmetric.predicted[0].total.seconds
    assert all(len(placements_of(greedy, f"f{i}")[0].cores) == 1 for i in range(8))


def test_greedy_uses_all_private_caches_together():
    problem = problem_of(sizes=[18_000] * 4, platform=cached_machine(4, l3_bytes=4 * MIB), batch=8192)
    symmetric, greedy = planned("symmetric", problem), planned("greedy", problem)
    assert greedy.predicted[0].total.seconds < 0.9 * symmetric.predicted[0].total.seconds


def test_greedy_cuts_a_table_that_would_keep_one_core_busy():
    problem = problem_of(sizes=[3_000_000, 10, 10], platform=cached_machine(4))
    assert sum(len(p.cores) for p in placements_of(planned("greedy", problem), "f0")) == 4


def test_unpooled_features_are_never_cut_by_rows():
    problem = problem_of(sizes=[3_000_000, 10], platform=scratchpad_machine(4), poolings={0: "none"})
    assert all(p.shard.rows == 3_000_000 for p in placements_of(planned("greedy", problem), "f0"))


@pytest.mark.parametrize("name", ANY_MODEL)
def test_a_restricted_set_of_strategies_is_kept_to(name):
    problem = problem_of(sizes=(500, 100, 30), platform=scratchpad_machine(2))
    plan = planned(name, problem, {"l1": ALL["l1"]})
    assert {p.strategy for b in plan.buckets for s in b.stages for p in s.placements} == {"l1"}


@pytest.mark.parametrize("name", ANY_MODEL)
def test_what_fits_nowhere_is_refused_with_a_remedy(name):
    with pytest.raises(PlanError, match=r"T0.*192,000,000 bytes.*Allow strategy 'gm'"):
        planned(name, problem_of(platform=scratchpad_machine(2)), {"l1": ALL["l1"]})


@pytest.mark.parametrize("aim", ["mean", "worst"])
def test_several_workloads_are_planned_for_at_once(aim):
    problem = problem_of(platform=cached_machine(4), batches=(128, 4096), aim=aim)
    plan = planned("greedy", problem)
    assert [p.batch for p in plan.predicted] == [128, 4096]


def test_large_outputs_are_stored_past_the_caches_when_that_is_cheaper():
    problem = problem_of(sizes=[50_000_000], batch=3_000_000, platform=cached_machine(2))
    slow_stores = planned("symmetric", problem)
    assert placements_of(slow_stores, "f0")[0].tuning.stores == "regular"  # 1.2e-10 s/B against 1e-10


def test_prefetching_follows_where_rows_are():
    plan = planned("symmetric", problem_of(sizes=(3_000_000, 3), dim=64))
    far, near = (placements_of(plan, f)[0].tuning for f in ("f0", "f1"))
    assert far.prefetch_distance > 0 and far.prefetch_level == "t1"
    assert near.prefetch_distance == 0


def test_rows_that_come_from_far_now_and_then_are_prefetched_too():
    plan = planned("symmetric", problem_of(sizes=(3_000_000,), dim=64, ids=Zipf(1.4)))
    rows = {part: seconds for part, seconds in plan.predicted[0].total.breakdown.items() if part.startswith("rows ")}
    assert 0.1 < rows["rows ram"] / sum(rows.values()) < 0.5 and max(rows, key=rows.__getitem__) == "rows l1"
    assert placements_of(plan, "f0")[0].tuning.prefetch_distance > 0


def test_dominated_options_go():
    def option(strategy, seconds, local_bytes, shards=1):
        return Option(Candidate("f", strategy, shards, 1), (seconds,), local_bytes)

    kept = undominated([option("gm", 2.0, 0), option("l1", 1.0, 10), option("l1_ub", 1.5, 10), option("gm_ub", 2.5, 0)])
    assert [o.candidate.strategy for o in kept] == ["l1", "gm"]


def test_private_memory_has_a_price_when_it_is_short():
    def pair(saved, nbytes):
        gm = Option(Candidate("f", "gm", 1, 1), (saved,), 0)
        return [gm, Option(Candidate("f", "l1", 1, 1), (0.0,), nbytes)]

    found = {"dear": pair(1.0, 10), "cheap": pair(5.0, 10)}
    assert rent_s_per_byte(found, 20) == 0
    assert 0.1 <= rent_s_per_byte(found, 10) < 0.101


def test_stages_and_partial_sums_have_their_price():
    problem = problem_of(sizes=[3_000_000], platform=cached_machine(2))
    pricer = Pricer(problem, ALL, FittedCost())
    whole = planned("symmetric", problem).buckets[0]
    placement = whole.stages[0].placements[0]
    halves = [
        type(placement)("f0", type(placement.shard)("T0", a, b), (core,), "gm", reduce="add")
        for a, b, core in ((0, 1_500_000, "node0/cpu0/c0"), (1_500_000, 3_000_000, "node0/cpu0/c1"))
    ]
    sharded = type(whole)(None, (type(whole.stages[0])(tuple(halves)),))
    priced = pricer.price(sharded, problem.objective.workloads[0])
    assert len(priced.stages) == 2
    assert all(placement is None for parts in priced.stages[1].values() for placement, _ in parts)
    assert priced.total.breakdown["handoff"] == pytest.approx(2e-6)
    assert priced.total.breakdown["call"] == pytest.approx(1e-6)
