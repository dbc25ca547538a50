"""The emulator finds what is wrong with a kernel: faults planted in the kernels' own text are noticed."""

from dataclasses import replace

import numpy as np
import pytest
from batches import Placed, vectors_of
from emulated import device
from test_cuda_interaction import in_format
from test_cuda_interaction import run as run_interaction
from test_hashed import SMALL
from test_hashed import run as run_hashed
from test_lookup import run
from test_resident import CLUSTERS, WAYS

from recsmith.kernels.cuda import program
from recsmith.kernels.cuda.driver import DriverError
from recsmith.kernels.cuda.lookup import lookup
from recsmith.kernels.cuda.program import Launch, Window
from recsmith.testing.cases import single
from recsmith.testing.conformance import agree
from recsmith.testing.joined import joined_case

LONG = [[*range(50)] * 6, [1, 2], [0] * 90]


def plant(monkeypatch, file, right, wrong):
    """Replace a piece of a kernel's text, which must be there."""
    read = program._read

    def changed(name):
        text = read(name)
        assert name != file or right in text, f"{file} has no: {right}"
        return text.replace(right, wrong) if name == file else text

    monkeypatch.setattr(program, "_read", changed)


def case(name, **more):
    return single(name, LONG, **more)


FAULTS = {
    "a warp's sum is dropped": ("bag.cuh", "other < R::lanes * split; other += 32", "other < 32; other += 32", {}),
    "groups of a warp are not added": ("bag.cuh", "mask < 32 && mask < R::lanes * split", "false", {}),
    "every other id is left out": ("bag.cuh", "from += U * step", "from += 2 * U * step", {}),
    "a mean is a sum": ("serve.cuh", "feature.mode == mean", "false", {"pooling": "mean"}),
    "padding is counted": (
        "bag.cuh",
        "counted += wanted ? 1 : 0",
        "counted += from + u * step < bag.end",
        {"pooling": "mean", "padding_id": 1},
    ),
    "weights are those of the neighbour": (
        "bag.cuh",
        "ids.weights + from + u * step",
        "ids.weights + from",
        {"weighted": True},
    ),
    "codes in the wrong order": ("row.cuh", ">> 4 * (i % 8)", ">> 4 * (i % 8 ^ 1)", {"dtype": "int4"}),
    "scale and bias exchanged": (
        "row.cuh",
        "multiply_add(x, scale, bias)",
        "multiply_add(x, bias, scale)",
        {"dtype": "int8"},
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_sums_are_noticed(fault, monkeypatch):
    file, right, wrong, more = FAULTS[fault]
    wanted = case(f"PLANTED {fault}", **more)
    agree(wanted, *run(wanted, device(), bag=100.0)[:2])
    plant(monkeypatch, file, right, wrong)
    pooled, sequences, _ = run(wanted, device(), bag=100.0)
    with pytest.raises(AssertionError, match="off by"):
        agree(wanted, pooled, sequences)


MISSING_BARRIER = ("bag.cuh", "  sync_block();\n  if (thread_index()", "  if (thread_index()")
WITHOUT_MASK = ("row.cuh", "wanted && at < R::pieces", "wanted")


def test_a_missing_barrier_is_noticed(monkeypatch):
    plant(monkeypatch, *MISSING_BARRIER)
    monkeypatch.setenv("RECSMITH_EMULATED_ORDER", "7")
    wanted = case("BARRIER", dim=20)
    with pytest.raises(AssertionError, match="off by"):
        agree(wanted, *run(wanted, device(), bag=100.0)[:2])


def test_a_read_outside_of_memory_is_named(monkeypatch):
    plant(monkeypatch, *WITHOUT_MASK)
    wanted = single("LAST ROW", [[49]], dim=12)
    with pytest.raises(DriverError, match=r"block 0, thread \d+: read outside of memory \(16 bytes"):
        run(wanted, device())


def test_a_host_address_is_none_of_the_device(monkeypatch):
    wanted = case("HOST")
    placed = Placed(device(), wanted)
    ids = np.zeros(400, np.int64)
    vectors = [vectors_of(placed, wanted.model.features[0], 0, ids.ctypes.data // 16 * 16 + 16, 64)]
    with pytest.raises(DriverError, match="written outside of memory"):
        device().run(lookup(vectors, placed.ids()))


def ordered():
    """One result of each kernel that has barriers."""
    bags = case("ORDER", dim=20, dtype="fp16")
    joined = in_format(joined_case(3, dim=32, features=6, batch=9, one_hot=True), "fp16")
    pooled = joined_case(4, dim=20, features=6, batch=9)
    return {
        "lookup": run(bags, device(), bag=100.0)[0],
        "kept": run(bags, device(), make=WAYS["kept"], bag=100.0)[0],
        "clusters": run(bags, device(), make=CLUSTERS["kept by four"], bag=100.0, aligned=True)[0],
        "chunks": run(bags, device(), make=WAYS["chunks"], bag=100.0)[0],
        "interaction": run_interaction(joined, device(), operand="fp16", bottom="fp16", aligned=True),
        "pooled interaction": run_interaction(pooled, device(), bag=100.0),
        "decoder": run_hashed(SMALL, 16, [np.arange(40)], rows=32)[0],
    }


def test_threads_may_run_in_any_order(monkeypatch):
    first = ordered()
    for order in ("3", "4"):
        monkeypatch.setenv("RECSMITH_EMULATED_ORDER", order)
        for kernel, found in ordered().items():
            np.testing.assert_array_equal(found, first[kernel], err_msg=kernel)


MISSING = {
    "chunks": ("streamed.cu", "      copy_async_wait<1>();\n      sync_block();", "      copy_async_wait<1>();"),
    "kept": ("resident.cu", "  else sync_block();", ""),
    "interaction": ("tile.cuh", "(&zero));\n    }\n    sync_warp();", "(&zero));\n    }"),
    "decoder": ("hashed.cu", "    copy_async_wait<1>();\n    sync_block();", "    copy_async_wait<1>();"),
}


NOT_WAITED = {
    "chunks": ("streamed.cu", "copy_async_wait<1>();", ""),
    "kept": ("resident.cu", "copy_async_wait<0>();", ""),
    "interaction": ("interaction.cu", "copy_async_wait<0>();", ""),
    "decoder": ("hashed.cu", "copy_async_wait<1>();", ""),
}


@pytest.mark.parametrize("kernel", NOT_WAITED)
def test_copies_that_are_not_waited_for_are_noticed(kernel, monkeypatch):
    first = ordered()[kernel]
    plant(monkeypatch, *NOT_WAITED[kernel])
    assert not np.array_equal(ordered()[kernel], first, equal_nan=True)


@pytest.mark.parametrize("kernel", MISSING)
def test_missing_barriers_of_other_kernels_are_noticed(kernel, monkeypatch):
    first = ordered()[kernel]
    plant(monkeypatch, *MISSING[kernel])
    monkeypatch.setenv("RECSMITH_EMULATED_ORDER", "5")
    assert not np.array_equal(ordered()[kernel], first, equal_nan=True)


CLUSTER_FAULTS = {
    "the wrong neighbour": (
        ("bag.cuh", "base + (at & ((1u << shift) - 1))", "base + (at >> shift & ((1u << shift) - 1))"),
        "off by",
    ),
    "the neighbours are not waited for": (
        ("resident.cu", "if constexpr (CLUSTER > 1) sync_cluster();\n  else sync_block();", "sync_block();"),
        "off by",
    ),
    "neighbours end before they were read": (
        ("resident.cu", "    sync_cluster();  // until", "    // until"),
        "shared memory of a block that has ended",
    ),
    "a neighbour's memory is read as one's own": (
        ("row.cuh", "load_cluster<Bytes>", "load_shared<Bytes>"),
        "outside shared memory",
    ),
}


@pytest.mark.parametrize("fault", CLUSTER_FAULTS)
def test_faults_in_clusters_are_noticed(fault, monkeypatch):
    wanted = single("CLUSTER", LONG * 20)
    made = {"make": CLUSTERS["kept by four"], "bag": 100.0, "aligned": True}
    agree(wanted, *run(wanted, device(), **made)[:2])
    plant(monkeypatch, *CLUSTER_FAULTS[fault][0])
    monkeypatch.setenv("RECSMITH_EMULATED_ORDER", "5")
    with pytest.raises((AssertionError, DriverError), match=CLUSTER_FAULTS[fault][1]):
        agree(wanted, *run(wanted, device(), **made)[:2])


def test_what_is_to_stay_in_the_l2_must_be_the_devices_and_have_room_there():
    wanted, gpu = case("WINDOW"), device()
    placed = Placed(gpu, wanted)
    address = placed.room(1 << 16)

    def windowed(**window):
        return lambda placed, vectors, ids: replace(lookup(vectors, ids), window=Window(**window))

    right = windowed(address=address, nbytes=1 << 16)
    with pytest.raises(DriverError, match="invalid argument"):
        run(wanted, gpu, make=right)
    assert gpu.keep_l2(1 << 17) == 1 << 17
    agree(wanted, *run(wanted, gpu, make=right)[:2])
    for wrong in ({"address": address, "nbytes": (1 << 16) + 4096}, {"address": address, "nbytes": 0}):
        with pytest.raises(DriverError, match="invalid argument"):
            run(wanted, gpu, make=windowed(**wrong))
    gpu.keep_l2(0)


def test_an_argument_of_the_wrong_size_is_refused():
    wanted = case("SIZE")
    placed = Placed(device(), wanted)
    launch = lookup([vectors_of(placed, wanted.model.features[0], 0, 1 << 20, 64)], placed.ids())
    short = Launch(launch.program, launch.grid, launch.block, launch.arguments[:-8], launch.shared_bytes)
    with pytest.raises(AssertionError, match="lookup takes"):
        device().run(short)
