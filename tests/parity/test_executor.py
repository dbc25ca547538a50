"""The executor gives what the oracle gives, whatever the plan, the format and the types of the ids."""

import dataclasses

import numpy as np
import pytest
from hand_plans import FLOWS, PLANS, alone, build, owned, random_plan, row_shards, symmetric
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from recsmith.kernels.cpu import targets
from recsmith.spec import Jagged
from recsmith.testing.cases import Case, corner_cases, random_case
from recsmith.testing.conformance import agree

DTYPES = ("fp32", "fp16", "bf16", "int8", "int4")


def check(case: Case, plan, **options) -> None:
    with build(case.model, case.weights, plan, **options) as executable:
        looked = executable.lookup(case.ids)
        agree(case, looked.pooled, looked.sequences)
        assert looked.replaced == 0


def as_int32(ids: Jagged) -> Jagged:
    offsets = None if ids.offsets is None else ids.offsets.astype(np.int32)
    return replace(ids, values=ids.values.astype(np.int32), offsets=offsets)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("dtype", ["fp32", "int8"])
def test_corner_cases_under_all_plans(plan, dtype):
    for case in corner_cases(dtype):
        check(case, PLANS[plan](case.model))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("flow", FLOWS)
def test_corner_cases_in_all_formats_and_flows(flow, dtype):
    for case in corner_cases(dtype):
        check(case, owned(case.model, flow))


@pytest.mark.parametrize("isa", targets())
def test_every_instruction_set_gives_the_same_and_is_the_one_asked_for(isa):
    for case in corner_cases():
        with build(case.model, case.weights, row_shards(case.model), isa=isa) as executable:
            assert executable.isa == isa
            looked = executable.lookup(case.ids)
            agree(case, looked.pooled, looked.sequences)


@pytest.mark.parametrize("plan", PLANS)
def test_models_of_many_features(plan):
    for seed in range(12):
        case = random_case(seed, features=7, batch=[1, 2, 3, 5, 9, 64][seed % 6])
        check(case, PLANS[plan](case.model))
        narrow = dataclasses.replace(case, ids=as_int32(case.ids))
        check(narrow, PLANS[plan](case.model))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 2**31), st.sampled_from([0, 1, 2, 3, 4, 7, 33, 300]))
def test_any_tiling_of_rows_and_samples(seed, plan_seed, batch):
    case = random_case(seed, features=3, batch=batch)
    check(case, random_plan(case.model, plan_seed))


def test_arrays_read_in_place_give_the_same():
    for seed in range(5):
        case = random_case(seed, features=5)
        plan = symmetric(case.model)
        with build(case.model, case.weights, plan) as copied:
            from hand_plans import MACHINE

            from recsmith.executor import compile

            with compile(case.model, plan, case.weights, platform=MACHINE, pages="borrow") as borrowed:
                assert borrowed.table_bytes == 0 < copied.table_bytes
                np.testing.assert_array_equal(copied.lookup(case.ids).pooled, borrowed.lookup(case.ids).pooled)


def test_the_same_bits_every_time():
    case = random_case(3, features=6, batch=200)
    with build(case.model, case.weights, row_shards(case.model)) as executable:
        first = executable.lookup(case.ids).pooled.copy()
        for _ in range(50):
            np.testing.assert_array_equal(executable.lookup(case.ids).pooled, first)


def test_batches_of_all_sizes_through_one_executable():
    case = random_case(11, features=5, batch=40)
    with build(case.model, case.weights, PLANS["mixed"](case.model)) as executable:
        for batch in [0, 1, 2, 3, 4, 5, 8, 17, 40, 257]:
            part = random_case(11, features=5, batch=batch)
            ids = dataclasses.replace(case, ids=_clipped(part.ids, case))
            looked = executable.lookup(ids.ids)
            assert looked.pooled.shape == (batch, case.model.width)
            agree(ids, looked.pooled, looked.sequences)


def _clipped(ids: Jagged, case: Case) -> Jagged:
    """`ids` made valid for the case's tables."""
    values = ids.values.copy()
    for f, feature in enumerate(case.model.features):
        where = slice(int(ids.offsets[f * ids.batch]), int(ids.offsets[(f + 1) * ids.batch]))
        values[where] %= case.model.table_of(feature).rows
    weights = np.ones(len(values), np.float32) if any(f.weighted for f in case.model.features) else None
    return replace(ids, values=values, weights=weights)


def test_out_may_be_a_part_of_a_wider_array():
    case = random_case(5, features=4, batch=50)
    wide = np.full((50, case.model.width + 13), 7, np.float32)
    with build(case.model, case.weights, symmetric(case.model)) as executable:
        looked = executable.lookup(case.ids, out=wide[:, 5:-8])
        assert np.shares_memory(looked.pooled, wide)
        agree(case, looked.pooled, looked.sequences)
    assert (wide[:, :5] == 7).all() and (wide[:, -8:] == 7).all()


def test_an_output_in_use_is_not_written_to_again():
    case = random_case(8, features=3, batch=20)
    plan = alone(case.model)
    with build(case.model, case.weights, plan) as executable:
        kept = executable.lookup(case.ids).pooled
        view = executable.lookup(case.ids).pooled[1:]
        other = executable.lookup(case.ids).pooled
        assert not np.shares_memory(kept, other) and not np.shares_memory(view, other)
