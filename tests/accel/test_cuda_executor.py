"""Plans bound to a GPU, on the emulated one: the executor, the kernels and every driver call, but no speed."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from emulated import device
from msgspec.structs import replace

from recsmith import api
from recsmith.executor.cuda import CudaExecutable, compile
from recsmith.executor.cuda.executable import MOST_LENT
from recsmith.executor.cuda.forms import padded
from recsmith.executor.cuda.slots import KEPT_FORMS
from recsmith.executor.cuda.tables import inside, part_bytes, room_bytes
from recsmith.platforms import load
from recsmith.platforms.restrict import restrict
from recsmith.spec import (
    Feature,
    ForeignPlanError,
    FormatError,
    IdRangeError,
    InputError,
    Interval,
    Jagged,
    Model,
    Shard,
    Table,
    UnavailableError,
    Weights,
    Workload,
)
from recsmith.testing.cases import corner_cases, random_case, single
from recsmith.testing.conformance import agree

PLATFORM = restrict(load("a100"), 8)
"""Few enough multiprocessors that plans which use all of them are emulated quickly."""


def planned(model, batch=8, platform=PLATFORM, **options):
    return api.plan(model, platform, Workload.uniform(model, batch), planner="symmetric", allow=["gm"], **options)


def bind(case, **options) -> CudaExecutable:
    plan = planned(case.model, max(case.ids.batch, 1))
    return compile(case.model, plan, case.weights, platform=PLATFORM, device=device(), **options)


def narrow(ids: Jagged) -> Jagged:
    offsets = None if ids.offsets is None else ids.offsets.astype(np.int32)
    return replace(ids, values=ids.values.astype(np.int32), offsets=offsets)


def test_corner_cases():
    """In one format: kernels have had all of them in `test_lookup`."""
    for case in corner_cases("int8"):
        with bind(case) as executable:
            looked = executable.lookup(case.ids)
            agree(case, looked.pooled, looked.sequences)
            assert looked.replaced == 0


def test_models_of_many_features_with_either_type_of_ids_batch_after_batch():
    for seed in range(4):
        case = random_case(seed, features=5, batch=[1, 3, 9, 33][seed])
        with bind(case) as executable:
            for ids in (case.ids, narrow(case.ids), case.ids):
                looked = executable.lookup(ids)
                agree(case, looked.pooled, looked.sequences)


def test_a_batch_finds_nothing_of_the_one_before():
    full = single("FULL", [[7, 8], [3, 3, 3]])
    with bind(full) as executable:
        executable.lookup(full.ids)
        empty = single("FULL", [[], [1]])
        looked = executable.lookup(empty.ids)
        agree(dataclasses.replace(full, ids=empty.ids), looked.pooled, looked.sequences)


def test_tables_that_do_not_fit_the_gpu_are_read_from_the_host():
    case = random_case(5, features=4, batch=6)
    with bind(case, device_bytes=0) as executable:
        assert executable.table_bytes == 0 and executable.host_bytes > 0
        looked = executable.lookup(case.ids)
        agree(case, looked.pooled, looked.sequences)


def test_the_gpu_takes_the_tables_that_are_asked_for_most_by_the_byte():
    tables = (Table("large", 1000, 16), Table("hot", 1000, 16), Table("small", 10, 16))
    model = Model("m", tables, tuple(Feature(table.name, table.name) for table in tables))
    asked = {"large": 1.0, "hot": 20.0, "small": 1.0}
    assert inside(model, asked, room_bytes(tables[1]) + room_bytes(tables[2])) == {"hot": 1000, "small": 10}
    assert inside(model, asked, 0) == {} and inside(model, asked, 79) == {}
    some = part_bytes(tables[1], 300) + 63
    assert inside(model, asked, some) == {"small": 10, "hot": 290}, "one table is cut"
    assert inside(model, asked, sum(map(room_bytes, tables)) - 1) == {"hot": 1000, "small": 10, "large": 999}


@pytest.mark.parametrize("dtype", ["fp16", "int8"])
def test_a_table_that_is_cut_is_one_table(dtype):
    for case in (*corner_cases(dtype)[::3], random_case(4, features=5, batch=9)):
        half = max(1, sum(map(room_bytes, case.model.tables)) // 2)
        with bind(case, device_bytes=half) as executable:
            assert executable.table_bytes <= half
            looked = executable.lookup(case.ids)
            agree(case, looked.pooled, looked.sequences)


@pytest.mark.parametrize("one_hot", [True, False])
def test_hot_rows_of_a_cut_table_lie_on_the_gpu(one_hot):
    """Those that the profile names: cold rows are spoilt on the host, and look-ups of hot ones do not notice."""
    bags = [[7], [40], [7], [2]] if one_hot else [[7, 40], [2], [], [7, 7, 2]]
    case = single("HOT", bags, one_hot=one_hot)
    hot = {"t": np.array([40, 7, 2])}
    with bind(case, device_bytes=part_bytes(case.model.tables[0], 3), profile=hot) as executable:
        rows = executable._tables.rows["t"]
        assert (rows.near, executable.table_bytes) == (3, part_bytes(case.model.tables[0], 3))
        looked = executable.lookup(case.ids)
        agree(case, looked.pooled, looked.sequences)
        device().fill(rows.beyond, 47 * rows.stride_bytes, 0xFF)
        agree(case, executable.lookup(case.ids).pooled, {})
        cold = single("COLD", [[1], [3], [4], [5]], one_hot=True)
        assert np.isnan(executable.lookup(cold.ids).pooled).all()


def test_a_cut_table_is_served_from_global_memory_alone():
    case, wrong = single("CUT", [[1]]), {"t": np.array([3, 3])}
    room = part_bytes(case.model.tables[0], 20)
    plan = replanned(case.model, lambda p: [replace(p, strategy="l1")])
    arguments = {"platform": PLATFORM, "device": device(), "device_bytes": room}
    with (
        compile(case.model, plan, case.weights, **arguments) as executable,
        pytest.raises(UnavailableError, match="asks for strategy 'l1', which has no CUDA kernel for it"),
    ):
        executable.lookup(case.ids)
    with pytest.raises(InputError, match="the profile of table 't' repeats ids or leaves it"):
        bind(case, device_bytes=room, profile=wrong)


def test_out_is_written_to_and_returned():
    case = single("OUT", [[1], [2]], one_hot=True)
    out = np.full((2, 16), np.nan, np.float32)
    with bind(case) as executable:
        assert executable.lookup(case.ids, out).pooled is out
        agree(case, out, {})
        with pytest.raises(InputError, match=r"\[lookup\] out is float32 \[1, 16\]"):
            executable.lookup(case.ids, out[:1])


def test_an_id_outside_its_table_is_named():
    tables = (Table("a", 50, 4), Table("b", 3, 4))
    model = Model("m", tables, (Feature("fa", "a"), Feature("fb", "b")))
    weights = Weights({table.name: np.ones((table.rows, 4), np.float32) for table in tables})
    plan = planned(model)
    with compile(model, plan, weights, platform=PLATFORM, device=device()) as executable:
        with pytest.raises(IdRangeError, match=r"id 3 of feature 'fb' \(value 3\) lies outside table 'b' of 3 rows"):
            executable.lookup(Jagged(np.array([49, 0, 1, 3]), None, 2))
        offsets = np.array([0, 0, 2, 2, 3])
        with pytest.raises(IdRangeError, match=r"id -1 of feature 'fb' \(value 2\)"):
            executable.lookup(Jagged(np.array([0, 1, -1]), offsets, 2))
        assert executable.lookup(Jagged(np.array([0, 1, 2]), offsets, 2)).pooled.sum() == 12


def test_replaced_ids_are_counted():
    case = single("CLAMP", [[3, 60], [70]])
    (feature,) = case.model.features
    clamped = replace(feature, id_map=replace(feature.id_map, out_of_range="clamp"))
    model = replace(case.model, features=(clamped,))
    with compile(model, planned(model), case.weights, platform=PLATFORM, device=device()) as executable:
        assert executable.lookup(case.ids).replaced == 2


@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        (Jagged(np.zeros(3, np.int64), None, 2), "3 ids without offsets, wanted 2"),
        (Jagged(np.zeros(3, np.float32), None, 3), "ids are float32"),
        (Jagged(np.zeros(2, np.int64), np.array([0, 1]), 2), "2 offsets, wanted 3"),
        (Jagged(np.zeros(2, np.int64), np.array([0, 1, 1]), 2), "offsets go from 0 to 1 for 2 values"),
        (Jagged(np.zeros(2, np.int64), np.array([0, 3, 2]), 2), "offsets fall after offset 1"),
        (Jagged(np.zeros(2, np.int64), None, 2, np.ones(1, np.float32)), "1 weights for 2 values"),
    ],
)
def test_malformed_batches_are_refused(ids, problem):
    with (
        bind(single("PLAIN", [[1], [2]], one_hot=True)) as executable,
        pytest.raises(InputError, match=rf"\[lookup\] {problem}"),
    ):
        executable.lookup(ids)


def test_weights_are_asked_for_where_a_feature_is_weighted():
    case = single("WEIGHTED", [[1], [2]], weighted=True)
    with bind(case) as executable, pytest.raises(InputError, match="weighted"):
        executable.lookup(replace(case.ids, weights=None))


def test_graphs_are_kept_up_to_a_number():
    case = single("MANY", [[1]], one_hot=True)
    with bind(case) as executable:
        sizes = sorted({padded(batch) for batch in range(1, 200)})
        assert len(sizes) > KEPT_FORMS
        for batch in (*sizes, sizes[-1] - 1):
            ids = np.arange(batch, dtype=np.int64) % 50
            looked = executable.lookup(Jagged(ids, None, batch))
            assert np.array_equal(looked.pooled, case.weights.tables["t"][ids])
        assert executable.forms == KEPT_FORMS


def test_batches_are_padded_to_few_sizes():
    assert [padded(n) for n in (0, 1, 15, 16, 17, 100, 129, 2048, 2049)] == [0, 1, 15, 16, 18, 104, 144, 2048, 2304]
    assert all(n <= padded(n) <= max(n + 1, n * 9 // 8) for n in range(1, 5000))
    assert len({padded(n) for n in range(1, 65537)}) < 120


def test_padding_is_not_seen():
    """17 samples go as 18: ids outside are still named by their own position, and sequences keep their length."""
    tables = (Table("a", 50, 4), Table("b", 3, 4))
    features = (Feature("fa", "a"), Feature("fb", "b"), Feature("each", "a", "none"))
    model = Model("m", tables, features)
    draw = np.random.default_rng(0)
    weights = Weights({t.name: draw.normal(size=(t.rows, 4)).astype(np.float32) for t in tables})
    ids = np.concatenate([draw.integers(0, 50, 17), draw.integers(0, 3, 17), draw.integers(0, 50, 17)])
    with compile(model, planned(model), weights, platform=PLATFORM, device=device()) as executable:
        wrong = ids.copy()
        wrong[20] = 3
        with pytest.raises(IdRangeError, match=r"id 3 of feature 'fb' \(value 20\)"):
            executable.lookup(Jagged(wrong, None, 17))
        looked = executable.lookup(Jagged(ids, None, 17))
        assert np.array_equal(looked.pooled[:, 4:], weights.tables["b"][ids[17:34]])
        assert np.array_equal(looked.sequences["each"], weights.tables["a"][ids[34:]])


def replanned(model, change, batch=8, platform=PLATFORM):
    """A plan whose placements are changed."""
    plan = planned(model, batch, platform)
    stage = plan.buckets[0].stages[0]
    placements = tuple(each for placement in stage.placements for each in change(placement))
    return replace(plan, buckets=(replace(plan.buckets[0], stages=(replace(stage, placements=placements),)),))


def pooled_cases():
    """A third of the corner cases, all of which the kernels have had in `test_resident`: here it is who serves what."""
    cases = [*corner_cases("fp16")[::3], random_case(3, features=5, batch=9), random_case(8, features=6, batch=140)]
    return [case for case in cases if all(f.pooling != "none" for f in case.model.features)]


def hot_rows(placement, strategy):
    """The first half of the rows under `strategy`, the others as they were; all of a table too small to be cut."""
    table, rows = placement.shard.table, placement.shard.rows
    if rows < 2:
        return [replace(placement, strategy=strategy)]
    return [
        replace(placement, strategy=strategy, shard=Shard(table, 0, rows // 2), reduce="add"),
        replace(placement, shard=Shard(table, rows // 2, rows), reduce="add"),
    ]


FLOWS = {
    "kept by all": lambda p: [replace(p, strategy="l1")],
    "kept by one": lambda p: [replace(p, strategy="l1", cores=p.cores[5:6])],
    "streamed": lambda p: [replace(p, strategy="gm_ub")],
    "half kept by few, half by others": lambda p: [
        replace(p, strategy="l1", cores=p.cores[:3], samples=Interval(Fraction(0), Fraction(1, 2))),
        replace(p, strategy="l1", cores=p.cores[3:4], samples=Interval(Fraction(1, 2), Fraction(1))),
    ],
    "hot rows kept": lambda p: hot_rows(p, "l1"),
}


@pytest.mark.parametrize("flow", FLOWS)
def test_tables_in_shared_memory_and_streamed_through_it(flow):
    for case in pooled_cases():
        if case.name in ("EMPTY_BATCH", "CHUNKED_TABLE"):
            continue
        plan = replanned(case.model, FLOWS[flow], max(case.ids.batch, 1))
        with compile(case.model, plan, case.weights, platform=PLATFORM, device=device()) as executable:
            looked = executable.lookup(case.ids)
            agree(case, looked.pooled, looked.sequences)


def test_tables_from_global_memory_beside_kept_ones():
    case = random_case(11, features=6, batch=37)
    kept = {f.name for f in case.model.features if f.pooling != "none"}
    names = sorted(kept)[::2]
    plan = replanned(case.model, lambda p: [replace(p, strategy="l1" if p.feature in names else "gm")], 37)
    with compile(case.model, plan, case.weights, platform=PLATFORM, device=device()) as executable:
        looked = executable.lookup(case.ids)
        agree(case, looked.pooled, looked.sequences)


def test_what_no_kernel_serves_is_refused_by_name():
    case = single("FLOW", [[1]])
    plan = planned(case.model)
    stage = plan.buckets[0].stages[0]
    other = replace(stage, placements=tuple(replace(p, strategy="l1_ub") for p in stage.placements))
    changed = replace(plan, buckets=(replace(plan.buckets[0], stages=(other,)),))
    with (
        compile(case.model, changed, case.weights, platform=PLATFORM, device=device()) as executable,
        pytest.raises(UnavailableError, match="feature 'f' asks for strategy 'l1_ub', which has no CUDA kernel"),
    ):
        executable.lookup(case.ids)


def test_plans_of_other_machines_models_and_weights_are_refused():
    case = single("FOREIGN", [[1]])
    plan = planned(case.model)
    with pytest.raises(ForeignPlanError):
        compile(case.model, plan, case.weights, platform=load("h200"), device=device())
    with pytest.raises(ForeignPlanError, match="is no GPU"):
        compile(case.model, plan, case.weights, platform=load("cpu"), device=device())
    with pytest.raises(FormatError, match="have no table 't'"):
        compile(case.model, plan, Weights({}), platform=PLATFORM, device=device())
    wrong = Weights({"t": np.zeros((49, 16), np.float32)})
    with pytest.raises(FormatError, match="wanted 50 rows of fp32"):
        compile(case.model, plan, wrong, platform=PLATFORM, device=device())


def test_a_closed_executable_says_so():
    case = single("CLOSED", [[1]])
    executable = bind(case)
    executable.close()
    with pytest.raises(InputError, match="closed"):
        executable.lookup(case.ids)


def on_host(array):
    """A device array's numbers, found by what it tells other libraries."""
    interface = array.__cuda_array_interface__
    assert interface["version"] == 3 and interface["strides"] is None and interface["typestr"] == "<f4"
    return device().fetch(interface["data"][0], interface["shape"], "float32")


def test_vectors_stay_on_the_gpu_as_long_as_somebody_refers_to_them():
    case = random_case(3, features=5, batch=9)
    with bind(case) as executable:
        first = executable.lookup_on_device(case.ids)
        second = executable.lookup_on_device(case.ids)
        assert first.pooled.address != second.pooled.address
        for looked in (first, second):
            sequences = {name: on_host(array) for name, array in looked.sequences.items()}
            agree(case, on_host(looked.pooled), sequences)
        address = first.pooled.address
        kept = next(iter(first.sequences.values()), first.pooled)
        del first, looked
        held = [executable.lookup_on_device(case.ids) for _ in range(MOST_LENT - 2)]
        assert address not in {one.pooled.address for one in held}, "one of its arrays is still referred to"
        with pytest.raises(InputError, match="8 results of batches of 9 are still in use"):
            executable.lookup_on_device(case.ids)
        del kept
        assert executable.lookup_on_device(case.ids).pooled.address == address
        agree(case, on_host(second.pooled), {n: on_host(a) for n, a in second.sequences.items()})


def test_what_is_lent_outlives_the_executable():
    case = single("LENT", [[1], [2]], one_hot=True)
    executable = bind(case)
    looked = executable.lookup_on_device(case.ids)
    executable.close()
    assert np.array_equal(on_host(looked.pooled), case.weights.tables["t"][[1, 2]])
    del looked
    with pytest.raises(InputError, match="closed"):
        executable.lookup_on_device(case.ids)


def test_a_look_up_that_fails_is_not_lent():
    case = single("FAILS", [[1], [2]], one_hot=True)
    with bind(case) as executable:
        for _ in range(2 * MOST_LENT):
            with pytest.raises(IdRangeError):
                executable.lookup_on_device(Jagged(np.array([1, 50]), None, 2))
        empty = executable.lookup_on_device(Jagged(np.zeros(0, np.int64), None, 0))
        assert empty.pooled.shape == (0, 16)
