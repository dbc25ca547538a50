"""Decoders by the products of Hopper's warp groups give the rows of the reference."""

import numpy as np
import pytest
from emulated import device
from msgspec.structs import replace
from test_hashed import DIM, SMALL, expected, near, parameters_of, run

from recsmith.kernels.cuda.hashed import HashedRows, decode, packed_decoder
from recsmith.spec import CapacityError, UnavailableError

WIDE = replace(SMALL, k=130, hidden=(136, 24), hidden_activation="mish", last_activation="sigmoid", batch_norm=True)


@pytest.fixture(autouse=True)
def _hopper():
    if device().architecture != "sm_90":
        pytest.skip("products of warp groups are Hopper's (sm_90)")


def rows_of(dhe, dim, counts, **more):
    draw = np.random.default_rng(5)
    each = [draw.integers(0, 1 << 40, count) for count in counts]
    return each, run(dhe, dim, each, products="wgmma", **more)


@pytest.mark.parametrize(
    ("dhe", "dim", "rows", "operand"),
    [
        (SMALL, DIM, 128, "bf16"),
        (WIDE, 7, 64, "bf16"),
        (WIDE, 7, 128, "bf16"),
        (replace(SMALL, hidden=()), 72, 64, "bf16"),
        (replace(SMALL, k=64, transform="gaussian"), 1, 128, "bf16"),
        (replace(SMALL, transform="gaussian"), DIM, 128, "fp8"),
        (WIDE, 7, 64, "fp8"),
    ],
    ids=["a hidden layer", "three panels, shared", "three panels", "none hidden", "gaussian", "e4m3", "e4m3, shared"],
)
def test_rows_are_those_of_the_reference(dhe, dim, rows, operand):
    each, found = rows_of(dhe, dim, (70, 0, 5), rows=rows, operand=operand)
    for seed, ids in enumerate(each):
        near(found[seed], expected(dhe, dim, ids, seed, operand), operand)


def test_rows_may_be_written_by_number_and_counted_on_the_gpu():
    gpu, draw = device(), np.random.default_rng(3)
    ids, numbers = draw.integers(0, 1 << 40, 70), draw.permutation(100).astype(np.int32)[:70]
    packed = packed_decoder(SMALL, parameters_of(SMALL, DIM), DIM, "bf16")
    arrays = (ids, packed, np.full((100, DIM), 7, np.float32), np.array([9, 40], np.int32), numbers)
    kept = [gpu.place(array) for array in arrays]
    ids_at, parameters, out, counted, numbers_at = (memory.address for memory in kept)
    one = HashedRows(ids_at, 70, parameters, out, DIM * 4, SMALL.prime, SMALL.buckets, counted + 4, numbers_at)
    gpu.run(decode(SMALL, DIM, [one], operand="bf16", products="wgmma"))
    found = gpu.fetch(out, (100, DIM), "float32")
    near(found[numbers[:40]], expected(SMALL, DIM, ids[:40], 0, "bf16"), "bf16")
    assert (np.delete(found, numbers[:40], axis=0) == 7).all()


def test_what_the_kernel_cannot_do_is_refused():
    with pytest.raises(UnavailableError, match=r"by wgmma are not made in fp32\. Choose from: bf16, fp8"):
        decode(SMALL, DIM, [], operand="fp32", products="wgmma")
    with pytest.raises(UnavailableError, match="by mma are not made in fp8"):
        decode(SMALL, DIM, [], operand="fp8")
    with pytest.raises(CapacityError, match="more registers or shared memory"):
        decode(replace(SMALL, hidden=(528,)), DIM, [], products="wgmma")
    with pytest.raises(CapacityError, match="more registers or shared memory"):
        decode(SMALL, DIM, [], products="wgmma", rows=32)
