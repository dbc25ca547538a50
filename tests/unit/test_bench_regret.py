"""Regret: plans drawn at random are valid, and luck in one half of the rounds does not count in the other."""

import pytest
from test_plan_planners import problem_of

from recsmith import api
from recsmith.bench.regret import CHOSEN, RegretOptions, compared, run_regret_bench
from recsmith.cost.fitted import FittedCost
from recsmith.planner.arbitrary import arbitrary
from recsmith.spec import check
from recsmith.strategies import STRATEGIES
from recsmith.testing.machines import cached_machine, scratchpad_machine

ALL = {name: STRATEGIES[name]() for name in STRATEGIES}


@pytest.mark.parametrize("platform", [cached_machine(1), cached_machine(4), scratchpad_machine(3)])
def test_plans_drawn_at_random_are_valid_and_differ(platform):
    problem = problem_of(sizes=[40, 900, 30_000, 200_000], platform=platform)
    plans = [arbitrary(problem, ALL, FittedCost(), seed) for seed in range(8)]
    for plan in plans:
        check(plan, problem, ALL)
    assert len({plan.digest() for plan in plans}) > 4
    assert plans[3] == arbitrary(problem, ALL, FittedCost(), 3)


def test_the_choice_is_compared_in_rounds_that_did_not_choose_the_best():
    seconds = {"auto": [1.0, 1.0] * 12, "lucky": [0.5, 2.0] * 12}
    assert compared(seconds, "auto", 0) == ("lucky", (-0.5, -0.5, -0.5))


def test_what_nothing_beats_has_no_regret():
    assert compared({"auto": [1.0] * 8, "other": [1.5] * 8}, "auto", 0) == ("auto", (0.0, 0.0, 0.0))


def test_a_clear_loss_has_an_interval_above_zero():
    noisy = [1.0 + 0.01 * (i % 5) for i in range(24)]
    best, (regret, low, high) = compared({"auto": [1.3 * t for t in noisy], "better": noisy}, "auto", 0)
    assert best == "better" and low <= regret <= high and low == pytest.approx(0.3)


@pytest.mark.parametrize("fuse", ["none", "dot"])
def test_a_case_is_timed_from_end_to_end(fuse):
    options = RegretOptions(
        ("criteo_kaggle",),
        ("uniform",),
        (16,),
        threads=1,
        fuse=fuse,
        arbitrary=1,
        pages="4k",
        max_bytes=4_000_000,
        rounds=2,
    )
    (case,) = run_regret_bench(options, api.platform("cpu")).cases
    assert CHOSEN in case.seconds and case.best in case.seconds and case.regret >= -1
