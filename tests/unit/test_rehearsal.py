"""A rehearsal keeps what is right about a plan and what was predicted unless something else is faster."""

import numpy as np
import pytest
from test_plan_planners import ALL, problem_of

from recsmith import api
from recsmith.bench.dlrm import parameters
from recsmith.calibration import rehearsal, turns
from recsmith.calibration.turns import Turns
from recsmith.cost.fitted import FittedCost
from recsmith.planner.arbitrary import arbitrary
from recsmith.planner.auto import Auto
from recsmith.planner.draft import drafted
from recsmith.planner.evaluate import Pricer
from recsmith.planner.finalists import PREDICTED, finalists
from recsmith.planner.fused import fused
from recsmith.planner.symmetric import Symmetric, replicated
from recsmith.spec import (
    Feature,
    Gather,
    Interaction,
    MixedDimension,
    Mlp,
    Model,
    Objective,
    Plan,
    PlanError,
    Problem,
    Table,
    Tuning,
    Weights,
    Workload,
    check,
)
from recsmith.testing.machines import cached_machine, scratchpad_machine


def rehearse(problem, monkeypatch, times):
    """The plan by `auto` and what becomes of it when finalists take `times` (1 by default)."""
    monkeypatch.setattr(rehearsal, "_timed", lambda found, *_: {name: [times.get(name, 1.0)] * 8 for name in found})
    pricer = Pricer(problem, ALL, FittedCost())
    plan = Auto().plan(problem, ALL, FittedCost())
    made = rehearsal.rehearsed(plan, pricer, Weights({}), None)
    check(made, problem, ALL)
    return plan, made


def test_finalists_differ_and_are_valid():
    problem = problem_of(platform=cached_machine(2), batches=(256,))
    pricer = Pricer(problem, ALL, FittedCost())
    bucket = Auto().plan(problem, ALL, FittedCost()).bucket(256)
    found = finalists(bucket, pricer, problem.objective.workloads)
    stages = [each.stages for each in found.values()]
    assert len(stages) >= 6 and all(stages.count(each) == 1 for each in stages)
    assert {len(each.cores) for each in found.values()} == {1, 2}


def test_the_symmetric_mapping_is_a_finalist_of_every_other():
    problem = problem_of(platform=cached_machine(2), batches=(2048,))
    pricer = Pricer(problem, ALL, FittedCost())
    owned = arbitrary(problem, ALL, FittedCost(), seed=1).bucket(2048)
    found = finalists(owned, pricer, problem.objective.workloads)
    assert found[PREDICTED] == owned
    assert found["symmetric"].stages == Symmetric().plan(problem, ALL, FittedCost()).bucket(2048).stages


def test_the_fastest_finalist_is_taken_and_the_limit_of_its_bucket_stays(monkeypatch):
    problem = problem_of(platform=cached_machine(2), batches=(64, 2048))
    plan, made = rehearse(problem, monkeypatch, {"feature by feature past the caches, all cores": 0.5})
    assert [b.batch_up_to for b in made.buckets] == [b.batch_up_to for b in plan.buckets]
    taken = made.bucket(2048)
    assert all(p.tuning.stores == "stream" and p.tuning.block == 0 for p in taken.stages[0].placements)
    assert any("timed here: feature by feature past the caches" in note for note in made.notes)
    assert [p.workload for p in made.predicted] == [p.workload for p in plan.predicted]


def test_what_was_predicted_stays_when_nothing_is_clearly_faster(monkeypatch):
    plan, made = rehearse(problem_of(platform=cached_machine(2)), monkeypatch, {PREDICTED: 1.02})
    assert made.buckets == plan.buckets


def test_a_faster_finalist_has_to_be_faster_by_more_than_chance():
    """What is faster in some rounds and slower in others does not replace the prediction."""
    lucky = [0.8, 0.8, 1.1, 1.1] * 15
    steady = [0.9] * 60
    assert turns.settled({PREDICTED: [1.0] * 60, "lucky": lucky}, PREDICTED) == PREDICTED
    assert turns.settled({PREDICTED: [1.0] * 60, "lucky": lucky, "steady": steady}, PREDICTED) == "steady"


def test_what_left_after_the_heat_is_not_taken():
    assert turns.settled({PREDICTED: [1.0] * 60, "slow": [0.5] * 7}, PREDICTED) == PREDICTED


def test_a_final_is_raced_in_spells_that_lie_apart(monkeypatch):
    happened = []

    class Race:
        def go(self, rounds, among):
            happened.append((rounds, among))

    monkeypatch.setattr(turns.time, "sleep", lambda seconds: happened.append(seconds))
    turns.final([Race(), Race()], (0, 2))
    race = (24, [0, 2])
    assert happened == [0.0, race, race, 0.7, race, race]


def test_cores_that_have_to_stage_rows_do_not_take_them_row_by_row():
    problem = problem_of(sizes=[400_000], platform=scratchpad_machine(2))
    pricer = Pricer(problem, {name: ALL[name] for name in ("gm_ub",)}, FittedCost())
    bucket = Auto().plan(problem, {"gm_ub": ALL["gm_ub"]}, FittedCost()).bucket(2048)
    assert set(finalists(bucket, pricer, problem.objective.workloads)) <= {PREDICTED, "symmetric"}


def test_a_rehearsed_plan_looks_up_the_same_rows():
    model = Model(
        "m", tuple(Table(f"t{i}", 50 + i, 8) for i in range(6)), tuple(Feature(f"f{i}", f"t{i}") for i in range(6))
    )
    rng = np.random.default_rng(0)
    weights = Weights({t.name: rng.random((t.rows, t.dim), np.float32) for t in model.tables})
    machine = api.platform("cpu")
    plan = api.plan(model, machine, Workload.uniform(model, 96))
    made = api.rehearse(model, plan, weights, platform=machine)
    assert made.model == plan.model and any("timed here" in note for note in made.notes)
    from recsmith.data import synthetic

    (ids,) = synthetic.batches(model, Workload.uniform(model, 96), 1)
    with api.compile(model, made, weights, platform=machine) as engine:
        found = engine.lookup(ids).pooled
    rows = ids.values.reshape(6, 96)
    wanted = np.concatenate([weights.tables[f"t{i}"][rows[i]] for i in range(6)], axis=1)
    np.testing.assert_array_equal(found, wanted)


def test_a_model_that_computes_rows_is_refused():
    held = MixedDimension(4)
    model = Model("m", (Table("t", 50, 6, computed=held),), (Feature("f", "t"),))
    plan = Plan("", "", "", Objective((Workload.uniform(model, 8),)), "auto", ())
    with pytest.raises(PlanError, match="computes some of its rows"):
        api.rehearse(model, plan, Weights({}))


def joined_problem(batch: int):
    """A model that multiplies its vectors, on two cores."""
    tables = tuple(Table(f"t{i}", 50 + i, 8) for i in range(6))
    features = tuple(Feature(f"f{i}", f"t{i}") for i in range(6))
    model = Model(
        "joined",
        tables,
        features,
        dense_inputs=3,
        bottom=Mlp((3, 8), ("relu",), "bottom"),
        interaction=Interaction("dot"),
        top=Mlp((8 + 21, 1), ("sigmoid",), "top"),
    )
    ops = tuple(Gather(f.name, f.table, f.pooling, f.weighted) for f in features)
    return Problem(model, ops, Objective((Workload.uniform(model, batch),)), cached_machine(2))


@pytest.mark.parametrize("batch", [64, 2048])
def test_fused_and_written_buckets_are_each_others_finalists(batch):
    asked = joined_problem(batch)
    pricer = Pricer(asked, ALL, FittedCost())
    workloads = asked.objective.workloads
    even = replicated(pricer, [core.id for core in asked.platform.cores], workloads)
    for bucket in (fused(even, pricer), even):
        found = finalists(bucket, pricer, workloads).values()
        assert {way.fused is None for way in found} == {True, False}


@pytest.mark.parametrize("starts_fused", [True, False])
def test_a_rehearsal_takes_a_fused_bucket_or_a_written_one_by_time(monkeypatch, starts_fused):
    asked = joined_problem(2048)

    def timed(found, *_):
        return {name: [0.5 if (way.fused is None) == starts_fused else 1.0] * 8 for name, way in found.items()}

    monkeypatch.setattr(rehearsal, "_timed", timed)
    pricer = Pricer(asked, ALL, FittedCost())
    even = replicated(pricer, [core.id for core in asked.platform.cores], asked.objective.workloads)
    plan = drafted(pricer, "symmetric", (fused(even, pricer) if starts_fused else even,))
    made = rehearsal.rehearsed(plan, pricer, Weights({}), None)
    check(made, asked, ALL)
    assert (made.bucket(2048).fused is None) == starts_fused


def test_a_model_with_products_is_rehearsed_up_to_them(monkeypatch):
    def no_lookup(*_):
        raise AssertionError("only a look-up was timed")

    monkeypatch.setattr(rehearsal, "looked_up", no_lookup)
    served = []
    asked = joined_problem(96)
    rng = np.random.default_rng(0)
    weights = Weights(
        {t.name: rng.random((t.rows, t.dim), np.float32) for t in asked.model.tables}, parameters(asked.model)
    )
    machine = api.platform("cpu")
    plan = api.plan(asked.model, machine, Workload.uniform(asked.model, 96))

    class Once(Turns):
        """Everybody takes as long, and each is served once a round."""

        def _time(self, executable, calls):
            self._serve(executable, next(self._ids))
            served.append(executable)
            return 1.0

    monkeypatch.setattr(rehearsal, "Turns", Once)
    made = api.rehearse(asked.model, plan, weights, platform=machine)
    assert len(served) >= 2 and made.bucket(96) == plan.bucket(96)


def test_one_finalist_asks_for_far_rows_further_ahead():
    names = ("tiny", "short", "long")
    tables = (Table("tiny", 4, 16), Table("short", 1 << 20, 16), Table("long", 1 << 20, 64))
    model = Model("m", tables, tuple(Feature(name, name) for name in names))
    ops = tuple(Gather(f.name, f.table, f.pooling, f.weighted) for f in model.features)
    asked = Problem(model, ops, Objective((Workload.uniform(model, 2048),)), cached_machine(2))
    pricer = Pricer(asked, ALL, FittedCost())
    even = replicated(pricer, [core.id for core in asked.platform.cores], asked.objective.workloads)
    found = finalists(even, pricer, asked.objective.workloads)["feature by feature, further ahead, all cores"]
    tunings = {p.feature: p.tuning for stage in found.stages for p in stage.placements}
    assert tunings == {"tiny": Tuning(), "short": Tuning(64, "t0"), "long": Tuning(32, "t0")}
