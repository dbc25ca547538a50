"""CUDA look-ups, run by the emulator, give what the oracle gives."""

import numpy as np
import pytest
from batches import ELEMENT, UNTOUCHED, Placed, decoded, vectors_of
from emulated import device
from msgspec.structs import replace

from recsmith.kernels.cuda.call import Ids, StoredRows, Vectors
from recsmith.kernels.cuda.gathering import GatherTuning
from recsmith.kernels.cuda.lookup import lookup
from recsmith.kernels.cuda.recipe import recipe_of
from recsmith.spec import CapacityError, IdMap, InputError
from recsmith.testing.cases import Case, corner_cases, random_case, single
from recsmith.testing.conformance import agree

DTYPES = ("fp32", "fp16", "bf16", "int8", "int4")


def run(
    case, gpu, *, output="fp32", tuning=None, recipes=(), index="int64", offset="int64", spare=3, make=None, **more
):
    """The look-up's output: pooled vectors and sequences, as float32; `make` makes the launch for what is placed."""
    placed = Placed(gpu, case)
    ids = placed.ids(index, offset)
    element = np.dtype(ELEMENT[output]).itemsize
    width = case.model.width + spare
    pooled = placed.room(case.ids.batch * width * element)
    vectors, sequences, column = [], {}, 0
    for at, feature in enumerate(case.model.features):
        dim = case.model.table_of(feature).dim
        if feature.pooling == "none":
            count = lengths(case, at)
            out = placed.room(count * dim * element)
            sequences[feature.name] = (out, (count, dim))
            vectors.append(vectors_of(placed, feature, at, out, dim * element, **more))
        else:
            vectors.append(vectors_of(placed, feature, at, pooled + column * element, width * element, **more))
            column += dim
    gpu.run(make(placed, vectors, ids) if make else lookup(vectors, ids, output, tuning, recipes))
    whole = gpu.fetch(pooled, (case.ids.batch, width), ELEMENT[output])
    assert (whole[:, case.model.width :].view(np.uint8) == 0xFF).all(), "wrote past the last column"
    found = {name: decoded(gpu.fetch(*where, ELEMENT[output]), output) for name, where in sequences.items()}
    return decoded(whole[:, : case.model.width], output), found, gpu.fetch(ids.faults, (2,), "uint64")


def lengths(case, at):
    if case.ids.offsets is None:
        return case.ids.batch
    batch = case.ids.batch
    return int(case.ids.offsets[(at + 1) * batch] - case.ids.offsets[at * batch])


def recipes_of(cases, gpu, **more):
    """All that the cases need, so that one compilation serves them."""
    found = set()
    for case in cases:
        placed = Placed(gpu, case)
        for at, feature in enumerate(case.model.features):
            found.add(recipe_of(vectors_of(placed, feature, at, 0, 0, **more), placed.ids()))
    return tuple(found)


@pytest.mark.parametrize("dtype", DTYPES)
def test_corner_cases(dtype):
    gpu = device()
    cases = corner_cases(dtype)
    shared = recipes_of(cases, gpu)
    for case in cases:
        pooled, sequences, faults = run(case, gpu, recipes=shared)
        agree(case, pooled, sequences)
        assert faults[1] == 0


def test_random_models_in_every_order_and_share():
    gpu = device()
    cases = [random_case(seed) for seed in range(12)]
    shared = recipes_of(cases, gpu)
    for case in cases:
        for bag in (1.0, 40.0):
            pooled, sequences, _ = run(case, gpu, recipes=shared, bag=bag)
            agree(case, pooled, sequences)


@pytest.mark.parametrize("index", ["int32", "int64"])
def test_32_and_64_bit_ids(index):
    for seed in (30, 31):
        case = random_case(seed)
        pooled, sequences, _ = run(case, device(), index=index, offset=index)
        agree(case, pooled, sequences)


@pytest.mark.parametrize("output", ["fp16", "bf16"])
def test_outputs_in_16_bits_are_rounded_once(output):
    gpu = device()
    for seed in (3, 4):
        case = random_case(seed)
        exact, _, _ = run(case, gpu)
        found, _, _ = run(case, gpu, output=output)
        # Half a unit in the last place, of 11 bits or of 8; below 2^-14 fp16's steps no longer shrink.
        half_step = {"fp16": 2.0**-11, "bf16": 2.0**-8}[output]
        np.testing.assert_array_less(np.abs(found - exact), np.abs(exact) * half_step + 2.0**-24)


@pytest.mark.parametrize(
    "tuning",
    [
        GatherTuning(rows_in_flight=1),
        GatherTuning(rows_in_flight=8, threads=128, order="feature", stores="past"),
        GatherTuning(rows_in_flight=2, threads=64, min_blocks=1, blocks_wanted=0),
    ],
    ids=str,
)
def test_tunings_change_nothing_but_rounding(tuning):
    for case in (random_case(5), single("ONE HOT", [[7], [0], [49], [7]] * 40, one_hot=True, dtype="fp16", dim=100)):
        for bag in (1.0, 50.0):
            pooled, sequences, _ = run(case, device(), tuning=tuning, bag=bag)
            agree(case, pooled, sequences)


def test_rows_where_kernels_read_them_fastest():
    for dtype in DTYPES:
        for dim in (16, 20):
            case = single("SPREAD", [[3, 1, 4], [1], [5, 49]], dtype=dtype, dim=dim)
            pooled, sequences, _ = run(case, device(), aligned=True, spare=4, far=True)
            agree(case, pooled, sequences)
            row = recipe_of(vectors_of(Placed(device(), case), case.model.features[0], 0, 0, 0, aligned=True), IDS)
            assert row.piece == (8 if dtype == "int4" else 16)


IDS = Ids(0, 1, offsets=16)
OUTSIDE = [[-1, 3], [50], [2**40, 7], [4]]


def outside(**id_map):
    case = single("OUTSIDE", OUTSIDE)
    feature = replace(case.model.features[0], id_map=IdMap(**id_map))
    return Case(case.name, replace(case.model, features=(feature,)), case.weights, case.ids)


@pytest.mark.parametrize(
    ("id_map", "rows", "replaced"),
    [
        ({"out_of_range": "clamp"}, [[0, 3], [49], [49, 7], [4]], 3),
        ({"out_of_range": "wrap"}, [[49, 3], [0], [2**40 % 50, 7], [4]], 3),
        ({"out_of_range": "default", "default_row": 9}, [[9, 3], [9], [9, 7], [4]], 3),
        ({"kind": "modulo"}, [[49, 3], [0], [2**40 % 50, 7], [4]], 0),
        ({"out_of_range": "error"}, [[3], [], [7], [4]], 0),
    ],
)
def test_ids_outside_their_table(id_map, rows, replaced):
    pooled, sequences, faults = run(outside(**id_map), device())
    wanted = single("OUTSIDE", rows)
    agree(wanted, pooled, sequences)
    first = 0 if id_map.get("out_of_range") == "error" else UNTOUCHED
    assert faults.tolist() == [first, replaced]


def test_a_concatenation_takes_the_bottom_output_as_it_is():
    gpu, case = device(), single("CAT", [[3, 1], [], [5, 9, 2]], dim=8)
    placed, bottom = Placed(gpu, case), np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    out = placed.room(3 * 13 * 4)
    first = Vectors(StoredRows(placed.put(bottom), 3, 5, "fp32", 20), 0, out, 13 * 4, "identity")
    second = vectors_of(placed, case.model.features[0], 0, out + 5 * 4, 13 * 4)
    gpu.run(lookup([first, second], placed.ids()))
    found = gpu.fetch(out, (3, 13), "float32")
    np.testing.assert_array_equal(found[:, :5], bottom)
    agree(case, found[:, 5:], {})


def test_recorded_once_and_run_for_other_ids():
    gpu, case = device(), single("GRAPH", [[3], [1], [4]], one_hot=True, dim=8)
    placed = Placed(gpu, case)
    ids, out, stream = placed.ids(), placed.room(3 * 8 * 4), gpu.stream()
    launch = lookup([vectors_of(placed, case.model.features[0], 0, out, 32)], ids)
    gpu.run(launch, stream)
    with gpu.recording(stream) as graph:
        gpu.run(launch, stream)
    other = single("GRAPH", [[9], [0], [2]], one_hot=True, dim=8)
    gpu.upload(ids.values, other.ids.values)
    graph.launch(stream)
    gpu.synchronize(stream)
    agree(other, gpu.fetch(out, (3, 8), "float32"), {})


def test_rows_that_split_their_elements_are_refused():
    with pytest.raises(InputError, match="Align both to 4 bytes"):
        recipe_of(Vectors(StoredRows(2, 5, 4, "fp32", 16), 0, 0, 0), IDS)
    with pytest.raises(InputError, match="rows of 16 bytes lie 12 apart"):
        recipe_of(Vectors(StoredRows(0, 5, 4, "fp32", 12), 0, 0, 0), IDS)
    with pytest.raises(InputError, match="aligned to 2 bytes"):
        lookup([Vectors(StoredRows(0, 5, 4, "fp32", 16), 0, 2, 16)], IDS)
    with pytest.raises(CapacityError, match="500 features"):
        lookup([Vectors(StoredRows(0, 5, 4, "fp32", 16), i, 0, 16) for i in range(500)], IDS)
