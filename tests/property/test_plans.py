"""Whatever the problem: every row is served once, nothing overflows, and no planner beats the bound."""

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from recsmith.cost.fitted import FittedCost
from recsmith.planner.auto import Auto
from recsmith.planner.evaluate import Pricer
from recsmith.planner.greedy import Greedy
from recsmith.planner.ilp import Ilp
from recsmith.planner.symmetric import Symmetric
from recsmith.spec import (
    Access,
    Feature,
    Fixed,
    Gather,
    Model,
    Objective,
    Plan,
    PlanError,
    Problem,
    RowFormat,
    Table,
    Uniform,
    Workload,
    Zipf,
    check,
)
from recsmith.strategies import STRATEGIES
from recsmith.testing.machines import cached_machine, scratchpad_machine

ALL = {name: STRATEGIES[name]() for name in STRATEGIES}
PLATFORMS = [cached_machine(1), cached_machine(2), cached_machine(6), scratchpad_machine(3)]
PLANNERS = {"symmetric": Symmetric(), "greedy": Greedy(), "ilp": Ilp(time_limit_s=0.5), "auto": Auto()}
ROUNDING = 1 + 1e-9

quickly = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def problems(draw) -> Problem:
    """Up to seven features over tables of all sizes, some shared, some unpooled, some quantised."""
    formats = st.builds(RowFormat, st.sampled_from(["fp32", "fp16", "int8"]), st.sampled_from([1, 64]))
    sizes = draw(st.lists(st.sampled_from([1, 3, 50, 4_000, 30_000, 400_000, 9_000_000]), min_size=1, max_size=6))
    tables = tuple(
        Table(f"T{i}", rows, draw(st.sampled_from([3, 8, 16, 64])), draw(formats)) for i, rows in enumerate(sizes)
    )
    owners = [*range(len(tables)), *draw(st.lists(st.integers(0, len(tables) - 1), max_size=1))]
    features = tuple(
        Feature(f"f{i}", tables[t].name, draw(st.sampled_from(["sum", "mean", "none"]))) for i, t in enumerate(owners)
    )
    ids = st.sampled_from([Uniform(), Zipf(1.05), Fixed()])
    accesses = tuple(Access(f.name, draw(st.sampled_from([0.5, 1.0, 20.0])), draw(ids)) for f in features)
    batches = draw(st.lists(st.sampled_from([1, 64, 2048]), min_size=1, max_size=2, unique=True))
    objective = Objective(
        tuple(Workload(f"b{b}", b, accesses) for b in batches), aim=draw(st.sampled_from(["mean", "worst"]))
    )
    ops = tuple(Gather(f.name, f.table, f.pooling) for f in features)
    return Problem(Model("any", tables, features), ops, objective, draw(st.sampled_from(PLATFORMS)))


@quickly
@given(problems(), st.sampled_from(sorted(PLANNERS)))
def test_every_row_is_served_once_and_everything_fits(problem, planner):
    plan = PLANNERS[planner].plan(problem, ALL, FittedCost())
    check(plan, problem, ALL)
    assert Plan.from_json(plan.to_json()) == plan
    for predicted in plan.predicted:
        total = predicted.total
        assert abs(total.seconds - sum(total.breakdown.values())) <= 1e-9 * total.seconds
        assert predicted.lower_bound_s <= total.seconds * ROUNDING


@quickly
@given(problems(), st.sets(st.sampled_from(sorted(ALL)), min_size=1, max_size=2))
def test_a_restricted_set_is_kept_to_or_refused(problem, names):
    allowed = {name: ALL[name] for name in sorted(names)}
    refusal = ""
    try:
        check(Greedy().plan(problem, allowed, FittedCost()), problem, allowed)
    except PlanError as error:
        refusal = str(error)
    assert not refusal or "Allow strategy 'gm'" in refusal


@quickly
@given(problems())
def test_the_exact_planner_is_never_worse_and_none_beats_the_bound(problem):
    one = replace(problem, objective=Objective(problem.objective.workloads[:1]))
    cost = FittedCost()
    plans = {name: planner.plan(one, ALL, cost) for name, planner in PLANNERS.items()}
    seconds = {name: plan.predicted[0].total.seconds for name, plan in plans.items()}
    assert seconds["ilp"] <= seconds["greedy"] * ROUNDING
    assert seconds["greedy"] <= seconds["symmetric"] * ROUNDING
    for bound in (plan.predicted[0].lower_bound_s for plan in plans.values()):
        assert bound <= min(seconds.values()) * ROUNDING


@quickly
@given(problems(), st.sampled_from([(1, 2), (7, 64), (100, 3000)]))
def test_larger_batches_are_never_predicted_to_be_faster(problem, sizes):
    pricer = Pricer(problem, ALL, FittedCost())
    bucket = Symmetric().plan(problem, ALL, FittedCost()).buckets[0]
    small, large = (replace(problem.objective.workloads[0], batch=batch) for batch in sizes)
    assert pricer.price(bucket, small).total.seconds <= pricer.price(bucket, large).total.seconds * ROUNDING


@quickly
@given(problems())
def test_more_cores_never_slow_the_best_symmetric_mapping_down_by_more_than_the_hand_off(problem):
    assume(len(problem.platform.cores) > 1)
    pricer = Pricer(problem, ALL, FittedCost())
    workload = problem.objective.workloads[0]
    assume(workload.batch > 1)
    priced = pricer.price(Symmetric().plan(problem, ALL, FittedCost()).buckets[0], workload)
    assert priced.total.seconds <= sum(priced.core_seconds.values()) + 1e-5
