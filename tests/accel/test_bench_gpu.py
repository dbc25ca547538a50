"""The look-up benchmark on the emulated GPU: ids, checks, engines and records, but no speed."""

import math
from contextlib import closing

import numpy as np
import pytest
from emulated import device

from recsmith.bench import records
from recsmith.bench.gpu.case import Draw, GpuCase, coprime
from recsmith.bench.gpu.options import GpuOptions
from recsmith.bench.gpu.ours import L2_WINDOW, VARIANTS, kept_tables
from recsmith.bench.gpu.run import run_gpu_lookup
from recsmith.data import shapes
from recsmith.spec import InputError, RecsmithError, UnavailableError, UnknownNameError

torch = pytest.importorskip("torch")

from recsmith.bench.gpu.world import World, world_here  # noqa: E402


@pytest.fixture
def world():
    made = World(device(), "cpu")
    yield made
    made.close()


def options(**changed):
    chosen = {"workload": "criteo_kaggle", "batch": 5, "dim": 16, "max_bytes": 60_000, "sets": 3, "rounds": 3}
    chosen |= {"platform": "a100", "planner": "symmetric", "against": ()}
    return GpuOptions(**(chosen | changed))


def case(world, name="criteo_kaggle", batch=5, law="uniform", dtype="fp16", dim=16, **more):
    return GpuCase(world, shapes.shape(name, dim, 60_000, dtype), batch, law, sets=2, **more)


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize("law", ["uniform", "zipf:1.05", "fixed"])
def test_a_cell_is_checked_timed_and_recorded(world, law, dtype):
    record = run_gpu_lookup(options(ids=law, dtype=dtype, against=("torch",), variants=("feature",)), world=world)
    names = [each.engine for each in record.cases]
    assert names == ["recsmith", "recsmith[feature]", "torch", "torch_fused"]
    assert record.missing == () and record.best_peer in names[2:]
    assert "emulated: seconds say nothing" in record.run.placement
    assert record.bound is None, "nothing is compared with the rate of a copy on a processor"
    assert records.LookupRecord.from_json(record.to_json()) == record


def test_the_tables_asked_for_most_stay_in_the_l2_where_that_is_tried(world, monkeypatch):
    record = run_gpu_lookup(options(workload="mlperf_dlrm_v2", batch=3, variants=(L2_WINDOW,)), world=world)
    assert [each.engine for each in record.cases] == ["recsmith", f"recsmith[{L2_WINDOW}]"]
    with closing(case(world, "mlperf_dlrm_v2")) as here:
        tables = here.stored()
        bags = {f.table: bag for f, bag in zip(here.shape.model.features, here.bags, strict=True)}
        nbytes = {name: rows.rows * rows.stride_bytes for name, rows in tables.items()}
        for room in (sum(nbytes.values()), sum(nbytes.values()) // 3, max(nbytes.values()) // 2):
            monkeypatch.setattr(type(world.gpu), "keep_l2", lambda self, wanted, room=room: room)
            window = kept_tables(here)
            end = window.address + window.nbytes
            inside = {n for n in tables if window.address <= tables[n].address < end}
            assert sum(nbytes[name] for name in inside) == window.nbytes <= room
            assert sum(bags[name] for name in inside) >= max(bags[n] for n in tables if nbytes[n] <= room)
        assert len(inside) < len(tables)
        monkeypatch.setattr(type(world.gpu), "keep_l2", lambda self, wanted: 1)
        with pytest.raises(UnavailableError, match="no table fits the 1 bytes"):
            kept_tables(here)


def test_bags_of_many_ids(world):
    record = run_gpu_lookup(options(workload="mlperf_dlrm_v2", batch=3, against=("torch",)), world=world)
    assert [each.engine for each in record.cases] == ["recsmith", "torch", "torch_fused"]
    assert record.case.rows_per_call == 3 * 214


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
def test_look_up_and_interaction(world, dtype):
    record = run_gpu_lookup(options(fuse="dot", against=("torch",), dtype=dtype, batch=3), world=world)
    names = [each.engine for each in record.cases]
    assert names == ["recsmith", "torch+bmm", "torch+compiled", "torch_fused+bmm", "torch_fused+compiled"]


def test_a_plan_with_tables_in_shared_memory(world):
    wanted = options(
        workload="small84_25mb", dim=32, batch=40, planner="symmetric", strategies=("l1",), max_bytes=60_000
    )
    record = run_gpu_lookup(wanted, world=world)
    assert record.plan.placements == {"l1": 84}


@pytest.mark.parametrize("dtype", ["int8", "int4"])
@pytest.mark.parametrize("fuse", ["none", "dot"])
def test_rows_of_codes(world, dtype, fuse):
    record = run_gpu_lookup(options(dtype=dtype, fuse=fuse, batch=3, against=("torch",)), world=world)
    assert [each.engine for each in record.cases] == ["recsmith"]
    assert all(f"takes no rows of {dtype}" in each.reason for each in record.missing) and record.missing
    assert record.case.dtype == dtype and record.case.bytes_moved > 0


def test_rows_of_codes_are_read_as_the_reference_reads_them(world):
    from recsmith.reference import decode
    from recsmith.spec import RowFormat, Table

    for dtype in ("int8", "int4"):
        made = case(world, dtype=dtype)
        name = made.shape.model.tables[3].name
        first, rows = made.starts[name], made.rows[name]
        stored = made.codes[first : first + rows, : made.row_bytes].numpy()
        wanted = decode(stored, Table(name, rows, made.dim, RowFormat(dtype)))
        np.testing.assert_array_equal(made._rows(name, torch.arange(rows)).numpy(), wanted)
        assert made.codes.data_ptr() % 16 == 12 and made.stride_bytes % 16 == 0


def test_a_rival_that_rounds_what_is_asked_for_in_full_is_missing(world):
    wanted = options(workload="mlperf_dlrm_v2", batch=3, against=("torch",), output="fp32")
    record = run_gpu_lookup(wanted, world=world)
    assert [each.engine for each in record.cases] == ["recsmith"]
    assert all("is off by" in each.reason for each in record.missing) and len(record.missing) == 2


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_every_variant_is_right(world, name):
    """One that is wrong ends the run: see test_the_check_sees_a_wrong_vector_and_one_never_written."""
    record = run_gpu_lookup(options(variants=(name,), against=(), rounds=3), world=world)
    assert [each.engine for each in record.cases] == ["recsmith", f"recsmith[{name}]"] and record.missing == ()


def test_a_rival_that_is_not_here_is_missing_with_the_reason(world):
    record = run_gpu_lookup(options(against=("cuembed", "torchrec-triton")), world=world)
    reasons = {each.engine: each.reason for each in record.missing}
    assert "RECSMITH_CUEMBED names no library" in reasons["cuembed"]
    assert "needs the package" in reasons["torchrec-triton"]


def test_a_rival_nobody_knows_is_an_error(world):
    with pytest.raises(UnknownNameError, match="there is no peer 'hugectr'"):
        run_gpu_lookup(options(against=("hugectr",)), world=world)


def test_a_variant_nobody_knows_is_an_error(world):
    with pytest.raises(UnknownNameError, match="there is no variant 'faster'"):
        run_gpu_lookup(options(variants=("faster",)), world=world)


def test_the_check_sees_a_wrong_vector_and_one_never_written(world):
    made = case(world)
    right = made.wanted(0, slice(0, 5)).to(torch.float16)
    assert made.disagreement(right, 0) == ""
    wrong = right.clone()
    wrong[4, 7] += 0.1
    assert "is off by" in made.disagreement(wrong, 0)
    unwritten = right.clone()
    unwritten[2, 3] = float("nan")
    assert "never written" in made.disagreement(unwritten, 0)
    assert "returned shape" in made.disagreement(right[:, :-1], 0)
    assert "is off by" in made.disagreement(right, 1), "another set's ids have other vectors"


def test_the_reference_is_the_sum_of_rows_by_hand(world):
    made = case(world, "mlperf_dlrm_v2", batch=2)
    ids = made.values[0].numpy()
    first = made.bags[0]
    rows = made.flat.numpy()[made.first_F[0] + ids[first : 2 * first]].astype(np.float64).sum(0)
    assert np.allclose(made.wanted(0, slice(1, 2))[0, : made.dim].numpy(), rows, rtol=1e-12)


def test_a_wrong_engine_of_ours_ends_the_cell(world, monkeypatch):
    from recsmith.bench.gpu import ours

    monkeypatch.setattr(ours.Ours, "output", lambda self, result: result + 1)
    with pytest.raises(RecsmithError, match="recsmith is off by"):
        run_gpu_lookup(options(), world=world)


@pytest.mark.parametrize(("rows", "least"), [(1, 1), (7, 4), (1000, 500)])
def test_ids_lie_inside_and_spread_over_their_table(world, rows, least):
    generator = torch.Generator().manual_seed(0)
    for law in ("uniform", "zipf:1.05", "zipf:1.0"):
        ids = Draw(world, [rows], (1,), 20 * rows, law, generator)()
        assert int(ids.min()) >= 0 and int(ids.max()) < rows
        assert len(torch.unique(ids)) >= least


def test_hot_ids_have_the_share_that_their_law_gives_them(world):
    rows, count = 10_000, 200_000
    ids = Draw(world, [rows], (1,), count, "zipf:1.05", torch.Generator().manual_seed(0))()
    top = float(torch.bincount(ids).max()) / count
    power = 1 - 1.05
    wanted = (2**power - 1) / ((rows + 1) ** power - 1)
    assert top == pytest.approx(wanted, rel=0.03)


@pytest.mark.parametrize("rows", [1, 2, 6, 97, 100, 65536])
def test_scattering_is_a_bijection(rows):
    assert math.gcd(coprime(rows), rows) == 1


def test_traces_are_not_for_gpus(world):
    with pytest.raises(InputError, match="uniform, zipf:ALPHA or fixed"):
        case(world, law="trace:file")


def test_rows_that_rivals_cannot_share_are_refused(world):
    with pytest.raises(UnavailableError, match=r"one dim and format; found \[16\] dims of \['bf16'\]"):
        case(world, dtype="bf16")


def test_ids_differ_from_set_to_set_and_outrun_the_cache(world):
    made = GpuCase(world, shapes.shape("criteo_kaggle", 16, 60_000, "fp16"), 5, "uniform")
    assert made.sets == 64 and not torch.equal(made.values[0], made.values[1])


def test_without_a_gpu_it_says_so():
    with pytest.raises(UnavailableError):
        world_here()
