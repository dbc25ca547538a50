"""The emulator finds what is wrong with a kernel: faults planted in the kernels' own text are noticed."""

import numpy as np
import pytest
from batches import Placed, vectors_of
from emulated import device
from test_lookup import run

from recsmith.kernels.cuda import program
from recsmith.kernels.cuda.driver import DriverError
from recsmith.kernels.cuda.lookup import lookup
from recsmith.kernels.cuda.program import Launch
from recsmith.testing.cases import single
from recsmith.testing.conformance import agree

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
    "a mean is a sum": ("lookup.cu", "feature.mode == mean", "false", {"pooling": "mean"}),
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


def test_threads_may_run_in_any_order(monkeypatch):
    wanted = case("ORDER", dim=20, dtype="fp16")
    first = run(wanted, device(), bag=100.0)[0]
    monkeypatch.setenv("RECSMITH_EMULATED_ORDER", "3")
    np.testing.assert_array_equal(run(wanted, device(), bag=100.0)[0], first)


def test_an_argument_of_the_wrong_size_is_refused():
    wanted = case("SIZE")
    placed = Placed(device(), wanted)
    launch = lookup([vectors_of(placed, wanted.model.features[0], 0, 1 << 20, 64)], placed.ids())
    short = Launch(launch.program, launch.grid, launch.block, launch.arguments[:-8], launch.shared_bytes)
    with pytest.raises(AssertionError, match="lookup takes"):
        device().run(short)
