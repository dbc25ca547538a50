"""Explanations add up and name alternatives; differences name what changed."""

import pytest
from msgspec.structs import replace
from test_plan_planners import ALL, planned, problem_of

from recsmith.cost.fitted import FittedCost
from recsmith.planner.explain import Explanation, describe, diff, explain
from recsmith.spec import Objective
from recsmith.testing.machines import MIB, cached_machine


def explained(name, problem) -> Explanation:
    return explain(planned(name, problem), problem, ALL, FittedCost())


@pytest.mark.parametrize("name", ["symmetric", "greedy", "auto"])
def test_features_add_up_to_the_cores_and_parts_to_the_call(name):
    found = explained(name, problem_of(platform=cached_machine(4)))
    for batches in found.batches:
        cores = batches.predicted.core_seconds
        for core in cores:
            assert sum(f.core_seconds.get(core, 0.0) for f in batches.features) <= cores[core] * (1 + 1e-9)
        assert max(cores.values()) <= batches.predicted.total.seconds
        assert batches.predicted.total.seconds == pytest.approx(sum(batches.predicted.total.breakdown.values()))
        for feature in batches.features:
            assert feature.seconds == pytest.approx(sum(feature.breakdown.values()))


def test_an_owned_table_says_so_and_what_replicating_it_would_cost():
    problem = problem_of(sizes=[18_000] * 4, platform=cached_machine(4, l3_bytes=4 * MIB), batch=8192)
    (batches,) = explained("greedy", problem).batches
    feature = batches.features[0]
    assert "owned by" in feature.way and list(feature.holders.values()) == [((0, 18_000),)]
    replicated = [other for other in feature.alternatives if "over 4 cores" in other.way]
    assert replicated and replicated[0].change_s > 0
    assert feature.why.startswith(("The next best", "No other way is faster"))


def test_buckets_without_a_workload_are_explained_with_one_scaled_into_them():
    found = explained("auto", problem_of(batches=(2048,)))
    small, large = found.batches
    assert small.batch_from == 1 and small.predicted.batch == small.batch_up_to and len(small.cores) == 1
    assert large.batch_from == small.batch_up_to + 1 and large.predicted.batch == 2048


def test_the_gap_to_the_bound_is_in_the_explanation():
    found = explained("greedy", problem_of(platform=cached_machine(4)))
    assert 0 < found.predicted[0].lower_bound_s <= found.predicted[0].total.seconds
    assert any("gap" in note for note in found.notes)
    assert found.source == "modelled"


def test_an_explanation_survives_json():
    found = explained("greedy", problem_of())
    assert Explanation.from_json(found.to_json()) == found


def test_a_plan_does_not_differ_from_itself_and_names_what_changed():
    problem = problem_of(platform=cached_machine(4))
    plan = planned("symmetric", problem)
    assert diff(plan, plan) == ()
    stage = plan.buckets[0].stages[0]
    moved = replace(stage.placements[0], cores=("node0/cpu0/c2",))
    other = replace(
        plan, buckets=(replace(plan.buckets[0], stages=(replace(stage, placements=(moved, *stage.placements[1:])),)),)
    )
    (change,) = diff(plan, other)
    assert change.feature == "f0" and "over 4 cores" in change.before and "owned by node0/cpu0/c2" in change.after


def test_alternatives_keep_to_what_fits():
    problem = problem_of(sizes=(3_000_000, 100))
    (batches,) = explained("symmetric", problem).batches
    assert not any("l1" in other.way.split()[-1] for other in batches.features[0].alternatives)


def test_describe_names_cut_place_and_strategy():
    problem = problem_of(sizes=(3_000_000,), platform=cached_machine(2))
    placement = planned("symmetric", problem).buckets[0].stages[0].placements[0]
    assert describe([placement]) == "whole over 2 cores, batch split, gm"
    assert describe([replace(placement, cores=placement.cores[:1])]) == "whole owned by node0/cpu0/c0, gm"


def test_workloads_are_predicted_anew():
    problem = problem_of()
    plan = planned("symmetric", problem)
    twice = replace(problem, objective=Objective((replace(problem.objective.workloads[0], name="w", batch=4096),)))
    found = explain(plan, twice, ALL, FittedCost())
    assert [p.batch for p in found.predicted] == [4096]
