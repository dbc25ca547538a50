"""The kernels on a real GPU give what the oracle gives; `compute-sanitizer pytest -m gpu tests/accel` checks more."""

import dataclasses
from functools import cache

import numpy as np
import pytest
from test_cuda_interaction import in_format
from test_cuda_interaction import run as run_interaction
from test_hashed import SMALL, expected, near
from test_hashed import run as run_hashed
from test_lookup import outside, recipes_of, run
from test_resident import CLUSTERS, WAYS, pooled_only

from recsmith.kernels.cuda.device import Device
from recsmith.kernels.cuda.gathering import GatherTuning
from recsmith.kernels.cuda.lookup import lookup
from recsmith.spec import UnavailableError
from recsmith.testing.cases import corner_cases, random_case, single
from recsmith.testing.conformance import agree
from recsmith.testing.joined import agree_joined, joined_case

pytestmark = pytest.mark.gpu


@cache
def found():
    try:
        return Device()
    except UnavailableError as error:
        return str(error)


@pytest.fixture
def gpu():
    if isinstance(found(), str):
        pytest.skip(found())
    return found()


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", "int8", "int4"])
def test_corner_cases(gpu, dtype):
    cases = corner_cases(dtype)
    shared = recipes_of(cases, gpu)
    for case in cases:
        agree(case, *run(case, gpu, recipes=shared)[:2])


def test_random_models(gpu):
    cases = [random_case(seed, batch=700) for seed in range(16)]
    shared = recipes_of(cases, gpu)
    for case in cases:
        for bag in (1.0, 50.0):
            agree(case, *run(case, gpu, recipes=shared, bag=bag)[:2])


@pytest.mark.parametrize("flight", [1, 4, 8])
def test_every_launch_gives_the_same_bits(gpu, flight):
    case = single("SAME", [list(range(50)) * 7, [1, 2], []] * 200, dtype="fp16", dim=64)
    tuning = GatherTuning(rows_in_flight=flight)
    first = run(case, gpu, tuning=tuning, bag=200.0)[0]
    for _ in range(3):
        np.testing.assert_array_equal(run(case, gpu, tuning=tuning, bag=200.0)[0], first)


@pytest.mark.parametrize("way", WAYS)
def test_tables_in_shared_memory(gpu, way):
    for case in pooled_only(random_case(seed, features=2, batch=500) for seed in range(6)):
        agree(case, *run(case, gpu, make=WAYS[way])[:2])


@pytest.mark.parametrize("way", CLUSTERS)
def test_tables_in_the_shared_memory_of_clusters(gpu, way):
    if not gpu.attribute("clusters"):
        pytest.skip("this GPU has no clusters")
    for case in pooled_only(random_case(seed, features=2, batch=500) for seed in range(6)):
        agree(case, *run(case, gpu, make=CLUSTERS[way], aligned=True)[:2])


def test_ids_outside_their_table(gpu):
    _, _, faults = run(outside(out_of_range="clamp"), gpu)
    assert faults[1] == 3
    _, _, faults = run(outside(out_of_range="error"), gpu)
    assert faults[0] == 0


@pytest.mark.parametrize("dim", [7, 16, 64, 128])
def test_interactions(gpu, dim):
    for batch in (1, 333):
        for one_hot in (False, True):
            case = joined_case(dim, dim=dim, batch=batch, one_hot=one_hot, features=26)
            agree_joined(case, run_interaction(case, gpu))
        for operand in ("fp16", "bf16"):
            case = in_format(joined_case(3, dim=dim, features=26, batch=batch, one_hot=True), operand)
            # Tensor cores add in an order of their own, and may drop bits beyond float32's.
            exact = run_interaction(case, gpu, operand="fp32", bottom=operand, aligned=True)
            found_here = run_interaction(case, gpu, operand=operand, bottom=operand, aligned=True)
            np.testing.assert_allclose(found_here, exact, rtol=1e-4, atol=1e-3)


def test_hashed_rows(gpu):
    draw = np.random.default_rng(5)
    each = [draw.integers(0, 1 << 40, count) for count in (333, 1, 64)]
    for operand in ("fp16", "bf16"):
        for rows in (32, 128):
            for seed, rows_found in enumerate(run_hashed(SMALL, 16, each, operand=operand, rows=rows, on=gpu)):
                near(rows_found, expected(SMALL, 16, each[seed], seed, operand), operand)


def test_registers_are_as_compiled(gpu):
    case = single("REGISTERS", [[1], [2]])
    launches = []
    run(case, gpu, make=lambda placed, vectors, ids: launches.append(lookup(vectors, ids)) or launches[0])
    function = gpu.function(launches[0].program)
    assert function.attribute("local_bytes") == 0
    assert 16 <= function.attribute("registers") <= 128
    assert function.blocks_per_multiprocessor(launches[0]) >= 2
    assert dataclasses.replace(launches[0], grid=0).grid == 0


def test_vectors_that_stay_on_the_gpu_are_torchs(gpu):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    from test_cuda_executor import PLATFORM, planned

    from recsmith.executor.cuda import compile

    case = random_case(3, features=5, batch=500)
    with compile(case.model, planned(case.model, 500), case.weights, platform=PLATFORM, device=gpu) as engine:
        wanted = engine.lookup(case.ids).pooled
        looked = engine.lookup_on_device(case.ids)
        tensor = torch.as_tensor(looked.pooled, device="cuda")
        del looked
        again = [engine.lookup_on_device(case.ids) for _ in range(4)]
        assert tensor.data_ptr() not in {one.pooled.address for one in again}, "the tensor keeps its memory"
        np.testing.assert_array_equal(tensor.cpu().numpy(), wanted)
