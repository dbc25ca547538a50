"""The first top layer folded into rows gives what the layer gives, in float64's words."""

import dataclasses
import itertools

import numpy as np
import pytest
from msgspec.structs import replace

from recsmith import api
from recsmith.calibration import folding
from recsmith.executor import compile_folded
from recsmith.executor.folded import split
from recsmith.planner.folding import choices
from recsmith.reference import forward, joined, lookup, mlp
from recsmith.representations import seen
from recsmith.representations.folding import candidates, foldable
from recsmith.spec import (
    Access,
    Batch,
    CapacityError,
    ForeignPlanError,
    IdMap,
    IdRangeError,
    InputError,
    Jagged,
    MixedDimension,
    Mlp,
    Plan,
    PlanError,
    UnavailableError,
    Weights,
    Workload,
)
from recsmith.testing.joined import joined_case
from recsmith.testing.machines import cached_machine

MACHINE = cached_machine(cores=2)


def world(seed, *, widths=(20, 6, 1), first="relu", **options):
    """A concatenating case with a top MLP of `widths` behind the input, and dense inputs for it."""
    case = joined_case(seed, kind="cat", **options).case
    draw = np.random.default_rng(seed)
    inputs = case.model.width + case.model.bottom.widths[-1]
    top = Mlp((inputs, *widths), (first, *["relu"] * (len(widths) - 1)), "top")
    dense = dict(case.weights.dense)
    for layer in range(len(widths)):
        dense[f"top.{layer}.weight"] = draw.normal(size=(top.widths[layer + 1], top.widths[layer])).astype(np.float32)
        dense[f"top.{layer}.bias"] = draw.normal(size=top.widths[layer + 1]).astype(np.float32)
    model = replace(case.model, top=top)
    made = dataclasses.replace(case, model=model, weights=Weights(case.weights.tables, dense))
    return made, draw.normal(size=(case.ids.batch, 2)).astype(np.float32)


def workload(model, batch):
    return Workload("w", batch, tuple(Access(feature.name) for feature in model.features))


def planned(model, names, batch=16):
    plain = api.plan(model, MACHINE, workload(model, batch))
    return api.fold(model, plain, names, platform=MACHINE)


def bound(case, names, pages="4k"):
    plan = planned(case.model, names, max(1, case.ids.batch))
    return compile_folded(case.model, plan, case.weights, platform=MACHINE, pages=pages)


def near(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * max(1.0, np.abs(wanted).max(initial=0.0)))


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("first", ["relu", "none"])
def test_any_set_of_features_gives_the_same_layer(first, one_hot):
    for seed, batch in enumerate([1, 2, 7, 40, 300]):
        case, dense = world(seed, batch=batch, one_hot=one_hot, dim=3 + 5 * seed, first=first)
        bottom = mlp(case.model.bottom, case.weights, dense.astype(np.float64)).astype(np.float32)
        inputs = joined(case.model, case.weights, case.ids, bottom)
        wanted = mlp(
            replace(case.model.top, widths=case.model.top.widths[:2], activations=(first,)), case.weights, inputs
        )
        able = [feature.name for feature in foldable(case.model)]
        for names in ([], able[:1], able[1:3], able[:-1], able[1:]):
            with bound(case, names) as executable:
                near(executable.first_layer(case.ids, bottom).values, wanted)
                assert executable.names == tuple(names)
                pooled, _ = lookup(case.model, case.weights, case.ids)
                found = executable.run(Batch(case.ids, dense)).values
                near(found.reshape(-1), forward(case.model, case.weights, dense, pooled))


def test_a_single_layer_is_all_there_is():
    case, dense = world(1, widths=(1,), first="none", batch=9, one_hot=True)
    pooled, _ = lookup(case.model, case.weights, case.ids)
    with bound(case, ["f1", "f3"]) as executable:
        near(executable.run(Batch(case.ids, dense)).values, forward(case.model, case.weights, dense, pooled))


def test_features_that_share_a_table_are_folded_each_with_its_own_columns():
    case, dense = world(4, batch=11, one_hot=True)
    features = tuple(replace(f, table="t1") if f.name in ("f1", "f2", "f3") else f for f in case.model.features)
    model = replace(
        case.model, features=features, tables=tuple(t for t in case.model.tables if t.name not in ("t2", "t3"))
    )
    values = case.ids.values.copy()
    values[11:44] %= model.table("t1").rows
    case = dataclasses.replace(case, model=model, ids=Jagged(values, None, 11))
    pooled, _ = lookup(case.model, case.weights, case.ids)
    for names in (["f1"], ["f1", "f3"], ["f1", "f2", "f3"]):
        with bound(case, names) as executable:
            near(executable.run(Batch(case.ids, dense)).values, forward(case.model, case.weights, dense, pooled))


def test_narrow_ids_and_an_empty_batch():
    case, dense = world(2, batch=5, one_hot=True)
    with bound(case, ["f0", "f2"]) as executable:
        wide = executable.run(Batch(case.ids, dense)).values
        ids = Jagged(case.ids.values.astype(np.int32), None, 5)
        np.testing.assert_array_equal(executable.run(Batch(ids, dense)).values, wide)
        none = Jagged(np.zeros(0, np.int64), None, 0)
        assert executable.first_layer(none, np.zeros((0, 16), np.float32)).values.shape == (0, 20)


def test_a_wrong_id_is_named_by_its_place_among_its_features_ids():
    case, dense = world(3, batch=6, one_hot=True)
    for feature in range(5):
        values = case.ids.values.copy()
        values[feature * 6 + 4] = 1 << 40
        wanted = pytest.raises(IdRangeError, match=rf"of feature 'f{feature}' \(its value 4\)")
        with bound(case, ["f1", "f4"]) as executable, wanted:
            executable.run(Batch(Jagged(values, None, 6), dense))


def test_replaced_ids_are_counted_on_both_sides():
    case, dense = world(3, batch=6, one_hot=True)
    features = tuple(replace(f, id_map=IdMap(out_of_range="clamp")) for f in case.model.features)
    case = dataclasses.replace(case, model=replace(case.model, features=features))
    values = case.ids.values.copy()
    values[[0, 7, 29]] = -1
    with bound(case, ["f1", "f4"]) as executable:
        assert executable.run(Batch(Jagged(values, None, 6), dense)).replaced == 3


def test_wrong_input_is_refused():
    case, dense = world(3, batch=6, one_hot=True)
    with bound(case, ["f1"]) as executable:
        with pytest.raises(InputError, match="29 ids, wanted 5 x 6"):
            executable.run(Batch(Jagged(case.ids.values[:-1], None, 6), dense))
        with pytest.raises(InputError, match="dense inputs are none"):
            executable.run(Batch(case.ids))


def test_what_cannot_be_folded():
    case, _ = world(0, batch=2)
    names = [feature.name for feature in case.model.features]
    for some, problem in ((["f0", "nobody"], "'nobody' cannot be folded"), (names, r"all features .* would be folded")):
        with pytest.raises(PlanError, match=problem):
            planned(case.model, some)
    dot, computed = joined_case(0).case.model, replace(case.model.tables[1], computed=MixedDimension())
    for model, problem in (
        (dot, r"joins vectors by dot, .* without --fold"),
        (world(0, first="sigmoid")[0].model, "has a sigmoid behind its first top layer"),
        (replace(case.model, top=None), "has no interaction and top MLP"),
        (
            replace(case.model, tables=(case.model.tables[0], computed, *case.model.tables[2:])),
            "convert DIR --to table",
        ),
    ):
        with pytest.raises(PlanError, match=problem):
            foldable(model)


def test_a_folded_plan_is_a_file_and_serves_its_own_model_only():
    case, dense = world(1, batch=9, one_hot=True)
    plan = planned(case.model, ["f1", "f3"])
    assert Plan.from_json(plan.to_json()) == plan and plan.fold.features == ("f1", "f3")
    (rest, own), (sums, added) = seen(case.model, plan)
    assert [f.name for f in rest.features] == ["f0", "f2", "f4"] and own.fold is None and added == plan.fold.sums
    assert [table.dim for table in sums.tables] == [20, 20] and [f.name for f in sums.features] == ["f1", "f3"]
    with api.compile(case.model, plan, case.weights, platform=MACHINE, pages="4k") as executable:
        pooled, _ = lookup(case.model, case.weights, case.ids)
        near(executable.run(Batch(case.ids, dense)).values, forward(case.model, case.weights, dense, pooled))
        assert executable.folded_bytes >= sums.nbytes
        with pytest.raises(UnavailableError, match="without folded features"):
            executable.lookup(case.ids)
    other = replace(case.model, top=Mlp((case.model.top.widths[0], 4, 1), ("relu", "relu"), "top"))
    with pytest.raises(ForeignPlanError, match="made for model"):
        api.compile(other, plan, case.weights, platform=MACHINE)


def test_gpus_do_not_fold():
    case, _ = world(1)
    plan = api.plan(case.model, MACHINE, workload(case.model, 16))
    with pytest.raises(UnavailableError, match="'h200' is no CPU"):
        api.fold(case.model, plan, ["f1"], platform=api.platform("h200"))
    with pytest.raises(UnavailableError, match="'h200' is no CPU"):
        api.rehearse_fold(case.model, plan, case.weights, platform=api.platform("h200"), max_bytes=1 << 20)


def test_nothing_to_fold_leaves_the_plan_as_it_is():
    case, _ = world(1)
    plan = planned(case.model, [])
    assert plan.fold is None and plan == api.plan(case.model, MACHINE, workload(case.model, 16))


def rehearsed(case, faster, monkeypatch, **options):
    """The plan when folding as many features as `faster` says makes predictions take so much of their time."""

    def trial(plain, folded, model, objective, platform):
        share = faster.get(len(folded.names), 2.0)
        return folding.Trial(1e-3, share * 1e-3, share < 0.97)

    monkeypatch.setattr(folding, "trial", trial)
    plan = api.plan(case.model, MACHINE, workload(case.model, 64))
    return plan, api.rehearse_fold(case.model, plan, case.weights, platform=MACHINE, **options)


def test_the_fastest_set_is_taken_and_said(monkeypatch):
    case, _ = world(0, batch=64, one_hot=True, widths=(8, 1))
    sizes = candidates(case.model)
    assert len(sizes) == len(case.model.features) - 1
    plan, made = rehearsed(case, {len(sizes): 0.5}, monkeypatch, max_bytes=sum(sizes.values()))
    assert set(made.fold.features) == set(sizes) and made.model == plan.model and made.objective == plan.objective
    assert "4 of 5 features are folded" in made.notes[-1] and "500.0 us, none 1000.0 us" in made.notes[-1]


def test_nothing_is_folded_where_that_is_no_faster(monkeypatch):
    case, _ = world(0, batch=64, one_hot=True, widths=(8, 1))
    plan, made = rehearsed(case, {4: 0.99}, monkeypatch, max_bytes=1 << 30)
    assert made.fold is None and made.buckets == plan.buckets
    assert "No feature is folded" in made.notes[-1] and "4 folded 990.0 us, none 1000.0 us" in made.notes[-1]


def test_a_limit_below_the_smallest_feature_is_refused(monkeypatch):
    case, _ = world(0, widths=(8, 1))
    with pytest.raises(CapacityError, match=r"1 bytes were allowed .* Allow more bytes"):
        rehearsed(case, {}, monkeypatch, max_bytes=1)


def test_folded_rows_have_to_fit_beside_the_other_tables(monkeypatch):
    case, _ = world(0, widths=(8, 1))
    plan = api.plan(case.model, MACHINE, workload(case.model, 16))
    small = replace(
        MACHINE,
        memories=tuple(replace(m, capacity_bytes=500) if m.kind == "ram" else m for m in MACHINE.memories),
    )
    with pytest.raises(CapacityError, match=r"folded rows need .* bytes beside"):
        api.fold(case.model, plan, ["f0", "f1"], platform=small)
    monkeypatch.setattr("recsmith.executor.memory.free_bytes", lambda: 1 << 20)
    with pytest.raises(CapacityError, match="recsmith plan --fold"):
        bound(case, ["f1"], pages="borrow")


def test_a_rehearsal_times_whole_predictions():
    """Really, if only for a moment: folding all but one feature of a wide layer is timed beside folding none."""
    case, _ = world(0, batch=64, one_hot=True, widths=(8, 1))
    plan = api.plan(case.model, MACHINE, workload(case.model, 64))
    made = api.rehearse_fold(case.model, plan, case.weights, platform=MACHINE, max_bytes=1 << 30)
    assert "folded" in made.notes[-1] and (made.fold is None) == made.notes[-1].startswith("No feature")


def test_choices_stop_at_each_memory():
    caches = sorted(m.capacity_bytes for m in MACHINE.memories if m.kind == "cache")
    nbytes = {"a": caches[0] // 2, "b": caches[0], "c": 3 * caches[-1], "d": 100 * caches[-1]}
    sets = choices(nbytes, MACHINE, 104 * caches[-1])
    assert sets[0] == ("a",) and ("a", "b") in sets and sets[-1] == ("a", "b", "c", "d")
    assert all(len(small) < len(large) for small, large in itertools.pairwise(sets))
    assert choices({"a": 10}, MACHINE, 9) == []


def test_ids_are_split_by_feature():
    ids = Jagged(
        np.arange(7), np.array([0, 1, 3, 3, 4, 6, 7]), 2, np.arange(7, dtype=np.float32)
    )  # bags: [0] [1 2] | [] [3] | [4 5] [6]
    first, second = split(ids, 3, ([2, 0], [1]))
    assert first.values.tolist() == [4, 5, 6, 0, 1, 2] and first.offsets.tolist() == [0, 2, 3, 4, 6]
    assert first.weights.tolist() == [4, 5, 6, 0, 1, 2]
    assert second.values.tolist() == [3] and second.offsets.tolist() == [0, 0, 1]
