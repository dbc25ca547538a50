"""The first top layer folded into rows gives what the layer gives, in float64's words."""

import dataclasses
import itertools

import numpy as np
import pytest
from msgspec.structs import replace

from recsmith import api
from recsmith.executor.folded import split
from recsmith.executor.folding import foldable, folded_bytes
from recsmith.planner.folding import choices
from recsmith.reference import forward, joined, lookup, mlp
from recsmith.spec import Access, Batch, IdMap, IdRangeError, InputError, Jagged, Mlp, PlanError, Weights, Workload
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


def bound(case, names, **options):
    return api.layered(
        case.model,
        case.weights,
        names,
        workload(case.model, max(1, case.ids.batch)),
        platform=MACHINE,
        pages="4k",
        **options,
    )


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
    for names, problem in (
        (["f0", "nobody"], "feature 'nobody' cannot be"),
        ([f.name for f in case.model.features], "all features cannot be"),
    ):
        with pytest.raises(PlanError, match=problem):
            bound(case, names)
    dot = joined_case(0).case
    assert foldable(dot.model) == () and foldable(world(0, first="sigmoid")[0].model) == ()
    with pytest.raises(PlanError, match="nothing can be folded"):
        bound(dot, [])


def test_a_rehearsal_times_sets_of_the_smallest_features_and_none():
    case, _ = world(0, batch=64, one_hot=True, widths=(8, 1))
    sizes = {feature.name: folded_bytes(case.model, feature) for feature in case.model.features}
    found = api.fold(
        case.model, case.weights, workload(case.model, 64), platform=MACHINE, max_bytes=sum(sizes.values())
    )
    assert set(found.seconds) == {0, 4} and len(found.names) in found.seconds
    assert found.seconds[len(found.names)] == min(found.seconds.values())
    assert max(sizes, key=sizes.get) not in found.names


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
