"""Look-up and interaction in one CUDA launch, run by the emulator, give what the oracle gives."""

import dataclasses

import numpy as np
import pytest
from batches import ELEMENT, Placed, decoded, vectors_of
from emulated import device
from msgspec.structs import replace

from recsmith.kernels.cuda.call import StoredRows, Vectors
from recsmith.kernels.cuda.interaction import InteractionTuning, interact, pairs
from recsmith.reference import encode, joined
from recsmith.spec import CapacityError, InputError, RowFormat
from recsmith.testing.joined import agree_joined, joined_case


def run(case, gpu, *, output="fp32", operand="fp32", bottom="fp32", spare=0, tuning=None, cut=False, **more):
    """The interaction's output as float32."""
    placed, model = Placed(gpu, case.case), case.case.model
    ids, dim, batch = placed.ids(), case.bottom.shape[1], len(case.bottom)
    element = np.dtype(ELEMENT[output]).itemsize
    columns = dim + pairs(len(model.features) + 1, self_terms=model.interaction.self_terms)
    width = columns + spare
    rows = StoredRows(
        placed.put(encode(case.bottom, RowFormat(bottom))), batch, dim, bottom, dim * np.dtype(ELEMENT[bottom]).itemsize
    )
    vectors = [
        Vectors(rows, 0, 0, 0, "identity"),
        *(vectors_of(placed, feature, at, 0, 0, **more) for at, feature in enumerate(model.features)),
    ]
    if cut:
        vectors = [vectors[0], *(in_two(placed, one, at % 3) for at, one in enumerate(vectors[1:]))]
    out = placed.room(batch * width * element)
    launch = interact(
        vectors,
        ids,
        out,
        width * element,
        output=output,
        operand=operand,
        self_terms=model.interaction.self_terms,
        columns=width if spare else 0,
        tuning=tuning,
    )
    gpu.run(launch)
    found = decoded(gpu.fetch(out, (batch, width), ELEMENT[output]), output)
    assert (found[:, columns:] == 0).all()
    return found[:, :columns]


def in_two(placed, one, how):
    """The vectors of a table that is whole, cut in two, or cut with its rows in another order."""
    rows, near = one.rows, one.rows.rows // 2
    if how == 0 or near == 0:
        return one
    order = np.arange(rows.rows) if how == 1 else np.random.default_rng(0).permutation(rows.rows)
    whole = placed.device.fetch(rows.address, (rows.rows, rows.stride_bytes), "uint8")
    moved = np.empty_like(whole)
    moved[order] = whole
    places = placed.put(order.astype(np.int32)) if how == 2 else 0
    beyond = placed.put(moved[near:])
    return dataclasses.replace(
        one, rows=dataclasses.replace(rows, address=placed.put(moved[:near]), near=near, beyond=beyond, order=places)
    )


@pytest.mark.parametrize("dim", [1, 7, 128])
def test_float32_products(dim):
    for seed, batch, one_hot in ((0, 1, False), (1, 3, True), (2, 18, False), (2, 18, True)):
        case = joined_case(seed, dim=dim, batch=batch, one_hot=one_hot, self_terms=seed == 1)
        agree_joined(case, run(case, device()))


@pytest.mark.parametrize("features", [1, 2, 26, 40])
def test_every_number_of_vectors(features):
    case = joined_case(features, features=features, dim=8, batch=3, one_hot=True)
    agree_joined(case, run(case, device()))


def test_an_empty_batch():
    case = joined_case(1, batch=0, one_hot=True)
    assert run(case, device()).shape == (0, 16 + 15)


def in_format(case, dtype):
    """The case with all rows in `dtype`, and what its vectors are when they are rounded to it."""
    model = case.case.model
    tables = tuple(replace(table, format=RowFormat(dtype)) for table in model.tables)
    draw = np.random.default_rng(0)
    stored = {t.name: encode(draw.normal(size=(t.rows, t.dim)), t.format) for t in tables}
    weights = dataclasses.replace(case.case.weights, tables=stored)
    made = dataclasses.replace(case.case, model=replace(model, tables=tables), weights=weights)
    bottom = decoded(encode(case.bottom, RowFormat(dtype)), dtype)
    return dataclasses.replace(case, case=made, bottom=bottom)


@pytest.mark.parametrize("operand", ["fp16", "bf16"])
@pytest.mark.parametrize(("dim", "features"), [(16, 5), (64, 26), (128, 26), (128, 3), (20, 4), (32, 40)])
def test_rows_that_are_multiplied_as_they_are_stored_lose_nothing(operand, dim, features):
    """Products of 16-bit numbers are exact in float32, so the bound is that of float32."""
    drawn = joined_case(3, dim=dim, features=features, batch=5, one_hot=True, self_terms=dim in (16, 20))
    case = in_format(drawn, operand)
    few = InteractionTuning(warps=2, blocks=1, multiprocessors=1)
    for tuning in (None, few) if (dim, features) == (128, 26) else (few,):
        found = run(case, device(), operand=operand, bottom=operand, aligned=True, tuning=tuning)
        agree_joined(case, found)


@pytest.mark.parametrize("one_hot", [True, False])
def test_rows_of_tables_that_are_cut(one_hot):
    case = in_format(joined_case(3, dim=32, features=6, batch=9, one_hot=one_hot), "fp16")
    whole = run(case, device(), operand="fp16", bottom="fp16", aligned=True)
    found = run(case, device(), operand="fp16", bottom="fp16", aligned=True, cut=True)
    np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize("operand", ["fp16", "bf16"])
@pytest.mark.parametrize("bag", [1.0, 60.0])
def test_pooled_vectors_are_rounded_once(operand, bag):
    """Off by half a unit in the last place of each vector's elements, in the worst case all the same way."""
    for seed in range(2):
        case = joined_case(seed, dim=32, features=6, batch=6)
        found = run(case, device(), operand=operand, bag=bag, aligned=True, spare=3)
        wanted = joined(case.case.model, case.case.weights, case.case.ids, case.bottom)
        step = {"fp16": 2.0**-11, "bf16": 2.0**-8}[operand]
        magnitudes = joined(*magnitude(case))
        np.testing.assert_allclose(found[:, :32], case.bottom)
        np.testing.assert_array_less(np.abs(found - wanted), 2.1 * step * magnitudes + 1e-6)


def magnitude(case):
    """The case with every number replaced by its size, so that nothing cancels: bounds follow from it."""
    model, weights, ids = case.case.model, case.case.weights, case.case.ids
    from recsmith.reference import decode

    tables = tuple(replace(table, format=RowFormat("fp32")) for table in model.tables)
    sizes = {t.name: np.abs(decode(weights.tables[t.name], t)).astype(np.float32) for t in model.tables}
    sized = None if ids.weights is None else np.abs(ids.weights)
    return (
        replace(model, tables=tables),
        dataclasses.replace(weights, tables=sizes),
        replace(ids, weights=sized),
        np.abs(case.bottom),
    )


def test_output_in_16_bits_and_padded():
    case = in_format(joined_case(9, dim=16, features=26, batch=9, one_hot=True), "fp16")
    exact = run(case, device(), operand="fp16", bottom="fp16", aligned=True)
    found = run(case, device(), output="fp16", operand="fp16", bottom="fp16", aligned=True, spare=1)
    np.testing.assert_allclose(found, exact, rtol=2.0**-11, atol=2.0**-24)


def test_what_does_not_fit_is_refused():
    case = joined_case(1, features=2, batch=1, one_hot=True)
    placed = Placed(device(), case.case)
    rows = placed.table(case.case.model.tables[0])
    one = Vectors(rows, 0, 0, 0)
    with pytest.raises(CapacityError, match="97 vectors a sample"):
        interact([one] * 97, placed.ids(), 0, 16)
    with pytest.raises(CapacityError, match="bytes of shared memory"):
        interact([dataclasses.replace(one, rows=StoredRows(0, 1, 4096, "fp32", 4096 * 4))] * 20, placed.ids(), 0, 16)
    with pytest.raises(InputError, match=r"one length, found \[8, 16\]"):
        interact([one, dataclasses.replace(one, rows=StoredRows(0, 1, 8, "fp32", 32))], placed.ids(), 0, 16)
