"""Bad input and too little memory are clear errors; policies do what they say and are counted."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "parity"))
from hand_plans import MACHINE, PLANS, alone, build, row_shards, symmetric

from recsmith.executor import compile, memory
from recsmith.executor.lanes import choose
from recsmith.spec import (
    CapacityError,
    Feature,
    ForeignPlanError,
    FormatError,
    IdMap,
    IdRangeError,
    InputError,
    Jagged,
    Model,
    PlanError,
    Table,
    UnavailableError,
    Weights,
)
from recsmith.testing.cases import random_case
from recsmith.testing.conformance import agree
from recsmith.testing.machines import cached_machine

ROWS = np.arange(10 * 4, dtype=np.float32).reshape(10, 4)
MANY = (1, 40, 700)


def model(policy: str = "error", kind: str = "integer", pooling: str = "sum") -> Model:
    id_map = IdMap(kind, out_of_range=policy, default_row=3)
    features = tuple(Feature(f"f{i}", "t", pooling, id_map=id_map) for i in range(2))
    return Model("m", (Table("t", 10, 4),), features)


def executable(made: Model, plan: str = "symmetric"):
    return build(made, Weights({"t": ROWS}), PLANS[plan](made))


def bags(batch: int, dtype=np.int64) -> tuple[np.ndarray, np.ndarray]:
    """Two ids a bag, all valid."""
    values = (np.arange(4 * batch) % 10).astype(dtype)
    return values, (2 * np.arange(2 * batch + 1)).astype(dtype)


@pytest.mark.parametrize("plan", ["symmetric", "alone", "owned", "row_shards"])
@pytest.mark.parametrize("batch", MANY)
@pytest.mark.parametrize("dtype", [np.int64, np.int32])
@pytest.mark.parametrize("bad", [10, -1, 2**31 - 1, -(2**31)])
def test_an_id_out_of_range_is_named(plan, batch, dtype, bad):
    values, offsets = bags(batch, dtype)
    with executable(model(), plan) as engine:
        for at in (0, 2 * batch, 4 * batch - 1):
            broken = values.copy()
            broken[at] = bad
            with pytest.raises(IdRangeError, match=rf"id {bad} of feature 'f{at // (2 * batch)}' \(value {at}\)"):
                engine.lookup(Jagged(broken, offsets, batch))


@pytest.mark.parametrize("plan", ["symmetric", "alone", "owned", "row_shards"])
@pytest.mark.parametrize("batch", MANY)
def test_offsets_that_fall_are_refused(plan, batch):
    values, offsets = bags(batch)
    with executable(model(), plan) as engine:
        for at in (1, batch, 2 * batch - 1):
            for wrong in (-1, -(2**62), 4 * batch + 1, 2**62):
                broken = offsets.copy()
                broken[at] = wrong
                with pytest.raises(InputError, match="offsets fall"):
                    engine.lookup(Jagged(values, broken, batch))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v, o: (v, o + 1), "offsets start at 1"),
        (lambda v, o: (v[:-1], o), "lengths do not add up"),
        (lambda v, o: (v, o[:-1]), "no whole number"),
        (lambda v, o: (v[:7], None), "no whole number"),
        (lambda v, o: (v[:8], None), "give 4 samples, but the batch has 5"),
        (lambda v, o: (v.astype(np.float32), o.astype(np.float32)), "wanted int64 or int32"),
        (lambda v, o: (v.astype(np.int16), o), "wanted int64 or int32"),
        (lambda v, o: (v.astype(np.uint64), o), "wanted int64 or int32"),
        (lambda v, o: (v.astype(">i8"), o), "wanted int64 or int32"),
        (lambda v, o: (np.repeat(v, 2)[::2], o), "contiguous"),
        (lambda v, o: (v.reshape(4, -1), o), "one dimension"),
        (lambda v, o: (np.array(list(v), object), o), "wanted int64|contiguous"),
    ],
)
def test_malformed_arrays_are_refused(change, message):
    values, offsets = change(*bags(5))
    with executable(model()) as engine, pytest.raises(InputError, match=message):
        engine.lookup(Jagged(values, offsets, 5))


def test_the_fast_path_refuses_too():
    values, offsets = bags(5)
    with executable(model()) as engine:
        np.testing.assert_array_equal(
            engine.lookup_arrays(values, offsets), engine.lookup(Jagged(values, offsets, 5)).pooled
        )
        for wrong in [(None,), ("ids",), (values, offsets[:4]), (values, offsets + 1), (values, 3)]:
            with pytest.raises(InputError):
                engine.lookup_arrays(*wrong)
        for out in [np.zeros((5, 7), np.float32), np.zeros((5, 8)), np.zeros((8, 5), np.float32).T, [1]]:
            with pytest.raises(InputError, match="out"):
                engine.lookup_arrays(values, offsets, out=out)
        frozen = np.zeros((5, 8), np.float32)
        frozen.flags.writeable = False
        with pytest.raises(InputError, match="out"):
            engine.lookup_arrays(values, offsets, out=frozen)


def test_weights_of_the_wrong_length_are_refused():
    values, offsets = bags(5)
    made = Model("m", (Table("t", 10, 4),), tuple(Feature(f"f{i}", "t", weighted=True) for i in range(2)))
    with executable(made) as engine:
        with pytest.raises(InputError, match="weights has 19 elements for 20 values"):
            engine.lookup(Jagged(values, offsets, 5, np.ones(19, np.float32)))
        with pytest.raises(InputError, match="weights has elements of type 'd'"):
            engine.lookup(Jagged(values, offsets, 5, np.ones(20)))


def test_offsets_of_another_integer_type_are_taken():
    values, offsets = bags(5)
    with executable(model()) as engine:
        wanted = engine.lookup(Jagged(values, offsets, 5)).pooled
        for v, o in [(np.int32, np.int64), (np.int64, np.int32)]:
            found = engine.lookup(Jagged(values.astype(v), offsets.astype(o), 5)).pooled
            np.testing.assert_array_equal(found, wanted)
        offsets[3] = 2**40
        with pytest.raises(InputError, match="do not fit in the int32 type"):
            engine.lookup(Jagged(values.astype(np.int32), offsets, 5))


@pytest.mark.parametrize("plan", ["symmetric", "alone", "row_shards"])
@pytest.mark.parametrize("batch", MANY)
@pytest.mark.parametrize(
    ("policy", "kind", "wanted", "counted"),
    [
        ("clamp", "integer", (9, 0), 2),
        ("wrap", "integer", (3, 8), 2),
        ("default", "integer", (3, 3), 2),
        ("error", "modulo", (3, 8), 0),
    ],
)
def test_policies_replace_and_count(plan, batch, policy, kind, wanted, counted):
    values, offsets = bags(batch)
    values[1], values[-1] = 13, -2
    with executable(model(policy, kind), plan) as engine:
        looked = engine.lookup(Jagged(values, offsets, batch))
    fixed = values.copy()
    fixed[1], fixed[-1] = wanted
    with executable(model(), plan) as engine:
        np.testing.assert_array_equal(looked.pooled, engine.lookup(Jagged(fixed, offsets, batch)).pooled)
    assert looked.replaced == counted


@pytest.mark.parametrize("plan", ["symmetric", "row_shards"])
@pytest.mark.parametrize("pooling", ["sum", "mean", "none"])
def test_a_padding_id_outside_the_table_adds_nothing(plan, pooling):
    features = (Feature("f", "t", pooling, padding_id=-1),)
    made = Model("m", (Table("t", 10, 4),), features)
    ids = Jagged(np.array([2, -1, 4, -1, -1]), np.array([0, 3, 4, 5]), 3)
    with executable(made, plan) as engine:
        looked = engine.lookup(ids)
    if pooling == "none":
        wanted = ROWS[[2, 0, 4, 0, 0]] * np.array([[1], [0], [1], [0], [0]], np.float32)
        np.testing.assert_array_equal(looked.sequences["f"], wanted)
        return
    total = ROWS[2] + ROWS[4]
    np.testing.assert_array_equal(looked.pooled[0], total if pooling == "sum" else total / 2)
    assert not looked.pooled[1:].any()


def test_too_little_memory_is_said_beforehand(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: memory._RESERVE_BYTES + 100)
    made = model()
    with pytest.raises(CapacityError, match=r"needs 192 bytes of memory for its tables; 100 are free"):
        executable(made)
    with compile(made, symmetric(made), Weights({"t": ROWS}), platform=MACHINE, pages="file") as engine:
        assert engine.table_bytes == 0


def test_shared_tables_are_counted_once():
    with executable(model()) as engine:
        assert engine.table_bytes == 192  # 160 bytes, in whole cache lines


@pytest.mark.parametrize(
    "array", [ROWS[:9], ROWS.astype(np.float64), ROWS.T, ROWS.reshape(-1), ROWS[::-1], np.asfortranarray(ROWS)]
)
def test_misshapen_weights_are_refused(array):
    made = model()
    with pytest.raises(FormatError, match="table 't'"):
        build(made, Weights({"t": array}), alone(made))


def test_missing_weights_are_refused():
    made = model()
    with pytest.raises(FormatError, match="no table 't'"):
        build(made, Weights({}), alone(made))


def test_foreign_plans_are_refused_unless_allowed():
    made = model()
    plan = symmetric(made)
    elsewhere = cached_machine(cores=4)
    with pytest.raises(ForeignPlanError, match="4 cores"):
        compile(made, plan, Weights({"t": ROWS}), platform=elsewhere)
    compile(made, plan, Weights({"t": ROWS}), platform=elsewhere, allow_foreign=True).close()
    other = model("clamp")
    with pytest.raises(ForeignPlanError, match="model"):
        compile(other, plan, Weights({"t": ROWS}), platform=MACHINE)


def test_plans_that_serve_too_little_are_refused():
    made = model()
    plan = row_shards(made)
    short = plan.from_json(plan.to_json().replace('"stop": 10', '"stop": 9'))
    with pytest.raises(PlanError, match=r"90\.0%"):
        build(made, Weights({"t": ROWS}), short)


def test_an_instruction_set_that_is_not_there_is_refused():
    made = model()
    with pytest.raises(UnavailableError, match="'sse9' was asked for; this processor runs scalar"):
        build(made, Weights({"t": ROWS}), alone(made), isa="sse9")


def test_a_closed_executable_says_so():
    made = model()
    engine = executable(made)
    engine.close()
    engine.close()
    assert engine.threads == 0
    with pytest.raises(InputError, match="closed"):
        engine.lookup(Jagged(*bags(5), 5))


def test_progress_reaches_the_end():
    told = []
    made = model()
    build(made, Weights({"t": ROWS}), alone(made), progress=lambda step, done, total: told.append((done, total)))
    assert told[-1] == (160, 160)


def test_lanes_follow_the_processors_that_may_be_used():
    machine = cached_machine(cores=4)
    made = model()
    cores = [core.id for core in machine.cores]
    plan = symmetric(made)
    four = plan.from_json(plan.to_json().replace(f'"{cores[1]}"', f'"{cores[1]}", "{cores[2]}", "{cores[3]}"'))
    assert choose(four, machine, [0, 1, 2, 3], 4).processors == (0, 1, 2, 3)
    assert choose(four, machine, [4, 5, 6, 7], 8).processors == (4, 5, 6, 7)
    folded = choose(four, machine, [1, 6], 2)
    assert set(folded.processors) == {1, 6} and list(folded.of.values()) == [0, 1, 0, 1]
    assert choose(alone(made), machine, [3], 1).processors == (3,)


def test_fuzzed_input_never_crashes():
    case = random_case(21, features=4, batch=6)
    draw = np.random.default_rng(0)
    refused = 0
    with (
        build(case.model, case.weights, row_shards(case.model)) as sharded,
        build(case.model, case.weights, symmetric(case.model)) as whole,
    ):
        for _ in range(3000):
            values, offsets = case.ids.values.copy(), case.ids.offsets.copy()
            target = values if draw.integers(2) else offsets
            for _ in range(int(draw.integers(1, 3))):
                target[draw.integers(len(target))] = draw.choice(
                    [-1, 0, 1, 7, len(values), 2**31, 2**63 - 1, -(2**63), int(draw.integers(0, 60))]
                )
            for engine in (sharded, whole):
                try:
                    engine.lookup(Jagged(values, offsets, 6, case.ids.weights))
                except InputError:
                    refused += 1
        for engine in (sharded, whole):
            looked = engine.lookup(case.ids)
            agree(case, looked.pooled, looked.sequences)
    assert refused > 2000
