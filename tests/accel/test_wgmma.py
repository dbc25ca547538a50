"""Decoders by the products of Hopper's warp groups give the rows of the reference."""

import numpy as np
import pytest
from emulated import device
from msgspec.structs import replace
from test_hashed import DIM, SMALL, expected, near, run, written_by_number

from recsmith.kernels.cuda.hashed import decode
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
    written_by_number("bf16", products="wgmma")


def test_what_the_kernel_cannot_do_is_refused():
    with pytest.raises(UnavailableError, match=r"by wgmma are not made in fp32\. Choose from: bf16, fp8"):
        decode(SMALL, DIM, [], operand="fp32", products="wgmma")
    with pytest.raises(UnavailableError, match="by mma are not made in fp8"):
        decode(SMALL, DIM, [], operand="fp8")
    with pytest.raises(CapacityError, match="more registers or shared memory"):
        decode(replace(SMALL, hidden=(528,)), DIM, [], products="wgmma")
    with pytest.raises(CapacityError, match="more registers or shared memory"):
        decode(SMALL, DIM, [], products="wgmma", rows=32)
