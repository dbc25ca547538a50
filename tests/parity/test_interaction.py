"""Look-up and interaction together give what the oracle gives, fused or not, under every instruction set."""

import dataclasses
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
from hand_plans import FUSED_PLANS, PLANS, build, fused, fused_alone, owned_then_fused
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from recsmith.executor import lanes
from recsmith.kernels.cpu import targets
from recsmith.spec import Batch, IdRangeError, InputError, InteractionKind, Jagged, Tuning
from recsmith.testing.conformance import agree
from recsmith.testing.joined import JoinedCase, agree_joined, joined_case

ALL_PLANS = PLANS | FUSED_PLANS
KINDS = get_args(InteractionKind)


def check(case: JoinedCase, plan, **options) -> None:
    with build(case.case.model, case.case.weights, plan, **options) as executable:
        interacted = executable.interact(case.case.ids, case.bottom)
        agree_joined(case, interacted.values)
        assert interacted.replaced == 0


def narrow(case: JoinedCase) -> JoinedCase:
    ids = case.case.ids
    offsets = None if ids.offsets is None else ids.offsets.astype(np.int32)
    made = replace(ids, values=ids.values.astype(np.int32), offsets=offsets)
    return dataclasses.replace(case, case=dataclasses.replace(case.case, ids=made))


@pytest.mark.parametrize("plan", ALL_PLANS)
@pytest.mark.parametrize("kind", KINDS)
def test_all_plans(plan, kind):
    for seed, batch in enumerate([0, 1, 2, 5, 16, 17, 33, 300]):
        case = joined_case(seed, kind=kind, batch=batch, one_hot=seed % 2 == 0, self_terms=seed % 3 == 0)
        check(case, ALL_PLANS[plan](case.case.model))
        check(narrow(case), ALL_PLANS[plan](case.case.model))


@pytest.mark.parametrize("plan", ALL_PLANS)
def test_plans_for_more_processors_than_may_be_used(plan, monkeypatch):
    here = SimpleNamespace(allowed_processors=lambda: [0], quota_processors=lambda: 1)
    monkeypatch.setattr(lanes, "_native", here)
    for batch in (1, 2, 33):
        case = joined_case(batch, kind="dot", batch=batch)
        check(case, ALL_PLANS[plan](case.case.model))


@pytest.mark.parametrize("isa", targets())
@pytest.mark.parametrize("dim", [1, 3, 8, 15, 16, 17, 32, 64, 100, 128])
def test_every_instruction_set_and_dim(isa, dim):
    for seed, batch in enumerate([1, 3, 4, 5, 15, 16, 40]):
        for one_hot in (False, True):
            for kind in ("dot", "sum", "sum_relu"):
                case = joined_case(seed, kind=kind, dim=dim, batch=batch, features=1 + 3 * seed, one_hot=one_hot)
                check(case, fused(case.case.model), isa=isa)


@pytest.mark.parametrize("kind", ["sum", "sum_relu"])
@pytest.mark.parametrize("isa", targets())
def test_wide_sums_may_be_written_where_the_bottom_output_lies(isa, kind):
    for batch in (1, 5, 130):
        for ahead in (Tuning(), Tuning(2, "t0")):
            case = joined_case(4, kind=kind, dim=300, features=7, batch=batch, one_hot=True)
            with build(case.case.model, case.case.weights, fused(case.case.model, 32, ahead), isa=isa) as executable:
                both = case.bottom.copy()
                assert executable.interact(case.case.ids, both, both).values is both
                agree_joined(case, both)


def test_sums_keep_what_is_no_number():
    case = joined_case(0, kind="sum_relu", dim=20, one_hot=True)
    case.bottom[3, 7], case.bottom[3, 18] = np.nan, np.inf
    with build(case.case.model, case.case.weights, fused(case.case.model)) as executable:
        found = executable.interact(case.case.ids, case.bottom).values
    assert np.isnan(found[3, 7]) and np.isposinf(found[3, 18]) and np.isfinite(found[:3]).all()


@pytest.mark.parametrize("isa", targets())
def test_every_number_of_vectors(isa):
    for features in range(1, 36):
        for self_terms in (False, True):
            for batch in (1, 21):
                case = joined_case(1, features=features, batch=batch, one_hot=True, self_terms=self_terms, dim=20)
                check(case, fused_alone(case.case.model), isa=isa)


@settings(max_examples=120, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from(sorted(ALL_PLANS)),
    st.sampled_from(KINDS),
    st.integers(1, 12),
    st.integers(1, 70),
    st.integers(0, 90),
    st.booleans(),
)
def test_any_shape(seed, plan, kind, features, dim, batch, one_hot):
    case = joined_case(seed, kind=kind, features=features, dim=dim, batch=batch, one_hot=one_hot)
    check(case, ALL_PLANS[plan](case.case.model))


@pytest.mark.parametrize("plan", FUSED_PLANS)
def test_a_plain_lookup_under_a_fused_plan_writes_all_vectors(plan):
    for batch in (1, 7, 150):
        case = joined_case(batch, batch=batch).case
        with build(case.model, case.weights, FUSED_PLANS[plan](case.model)) as executable:
            looked = executable.lookup(case.ids)
            agree(case, looked.pooled, looked.sequences)


def test_output_and_bottom_of_any_row_stride():
    case = joined_case(3, batch=37, dim=24)
    with build(case.case.model, case.case.weights, fused(case.case.model)) as executable:
        width = executable.interact(case.case.ids, case.bottom).values.shape[1]
        wide = np.full((37, width + 9), 7, np.float32)
        bottom = np.zeros((37, 30), np.float32)
        bottom[:, 3:27] = case.bottom
        found = executable.interact(case.case.ids, bottom[:, 3:27], wide[:, 5 : 5 + width]).values
        agree_joined(case, found)
        assert (wide[:, :5] == 7).all() and (wide[:, 5 + width :] == 7).all()
        ids = case.case.ids
        values = executable.interact_arrays(ids.values, ids.offsets, ids.weights, case.bottom)
        np.testing.assert_array_equal(values, found)


def test_the_same_batch_gives_the_same_bits_however_it_is_cut():
    case = joined_case(5, batch=64, one_hot=True)
    found = []
    for block in (16, 32, 64):
        with build(case.case.model, case.case.weights, fused(case.case.model, block)) as executable:
            found.append(executable.interact(case.case.ids, case.bottom).values.copy())
    assert all(np.array_equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("plan", FUSED_PLANS)
@pytest.mark.parametrize("batch", [1, 40, 300])
def test_an_id_outside_its_table_is_named(plan, batch):
    case = joined_case(2, batch=batch, one_hot=True).case
    with build(case.model, case.weights, FUSED_PLANS[plan](case.model)) as executable:
        for feature in range(5):
            values = case.ids.values.copy()
            values[feature * batch + batch // 2] = 1 << 40
            with pytest.raises(
                IdRangeError, match=rf"of feature 'f{feature}' \(value {feature * batch + batch // 2}\)"
            ):
                executable.interact(Jagged(values, None, batch), np.zeros((batch, 16), np.float32))


def test_wrong_arrays_are_refused():
    case = joined_case(2, batch=4)
    ids = case.case.ids
    with build(case.case.model, case.case.weights, owned_then_fused(case.case.model)) as executable:
        for bottom in (None, case.bottom[:3], case.bottom[:, :9], case.bottom.astype(np.float64)):
            with pytest.raises(InputError, match="bottom"):
                executable.interact(ids, bottom)
        with pytest.raises(InputError, match=r"out has shape \[4, 3\], wanted \[4, 31\]"):
            executable.interact(ids, case.bottom, np.zeros((4, 3), np.float32))
        with pytest.raises(InputError, match="give 4 samples, but the batch has 5"):
            executable.interact(replace(ids, batch=5), case.bottom)


def test_predictions_do_not_depend_on_fusion():
    case = joined_case(11, batch=90, dim=16)
    dense = np.random.default_rng(0).normal(size=(90, 2)).astype(np.float32)
    found = []
    for plan in ("symmetric", "fused", "owned_then_fused"):
        with build(case.case.model, case.case.weights, ALL_PLANS[plan](case.case.model)) as executable:
            found.append(executable.run(Batch(case.case.ids, dense)).values)
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=0, atol=1e-6)
