"""DHE rows made by the CUDA kernel, run by the emulator, are those of the reference."""

from itertools import pairwise

import numpy as np
import pytest
from batches import ELEMENT, decoded
from emulated import device
from msgspec.structs import replace

from recsmith.kernels.cuda.hashed import HashedRows, decode, packed_decoder
from recsmith.reference import eighths
from recsmith.reference.computed import activate, codes, hash_ids
from recsmith.spec import CapacityError, Dhe, UnavailableError

DIM = 16
SMALL = Dhe(k=40, prime=1009, buckets=600, hidden=(24,), hidden_activation="relu", last_activation="none")


def parameters_of(dhe, dim, seed=0):
    draw = np.random.default_rng(seed)
    found = {"a": draw.integers(1, dhe.prime, dhe.k), "b": draw.integers(0, dhe.prime, dhe.k)}
    widths = dhe.widths(dim)
    for layer, (inputs, outputs) in enumerate(pairwise(widths)):
        found[f"{layer}.weight"] = (draw.normal(size=(outputs, inputs)) / np.sqrt(inputs)).astype(np.float32)
        found[f"{layer}.bias"] = draw.normal(size=outputs).astype(np.float32)
    if dhe.batch_norm:
        for part in ("weight", "bias", "mean"):
            found[f"norm.{part}"] = draw.normal(size=dim).astype(np.float32)
        found["norm.variance"] = draw.uniform(0.5, 2, dim).astype(np.float32)
    return found


def run(dhe, dim, ids_of_each, *, operand="fp16", output="fp32", index="int64", rows=0, products="mma", on=None):
    """The rows of each feature; feature i has the parameters of seed i."""
    gpu, kept, features = on or device(), [], []
    element = np.dtype(ELEMENT[output]).itemsize

    def put(array):
        kept.append(gpu.place(np.ascontiguousarray(array)))
        return kept[-1].address

    for seed, ids in enumerate(ids_of_each):
        packed = packed_decoder(dhe, parameters_of(dhe, dim, seed), dim, operand)
        out = put(np.zeros((max(1, len(ids)), dim), ELEMENT[output]))
        features.append(
            HashedRows(put(ids.astype(index)), len(ids), put(packed), out, dim * element, dhe.prime, dhe.buckets)
        )
    gpu.run(decode(dhe, dim, features, operand=operand, output=output, index=index, rows=rows, products=products))
    found = [gpu.fetch(one.out, (one.count, dim), ELEMENT[output]) for one in features]
    return [decoded(one, output) for one in found]


def rounded(x, operand):
    """To the nearest number of the operand's format; float32 is compared with the module itself."""
    if operand == "fp32":
        return x.astype(np.float64)
    if operand == "fp8":
        return eighths.decoded(eighths.encoded(x))
    if operand == "fp16":
        return x.astype(np.float16).astype(np.float64)
    bits = x.astype(np.float32).view(np.uint32)
    if operand == "tf32":
        return ((bits + 0x1000) & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)
    return (((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def expected(dhe, dim, ids, seed, operand):
    """The reference with codes, weights and hidden vectors rounded where the kernel rounds them."""
    return expected_rows(dhe, parameters_of(dhe, dim, seed), ids, operand)


def expected_rows(dhe, parameters, ids, operand):
    x = rounded(codes(dhe, parameters, ids), operand)
    for layer, activation in enumerate(dhe.activations()):
        weight = parameters[f"{layer}.weight"]
        scale = eighths.scales(weight)[:, None] if operand == "fp8" else np.float32(1)
        weight = rounded(weight / scale, operand) * scale
        x = activate(activation, x @ weight.T + parameters[f"{layer}.bias"])
        if layer < len(dhe.hidden):
            x = rounded(x, operand)
    if dhe.batch_norm:
        norm = {part: parameters[f"norm.{part}"].astype(np.float64) for part in ("weight", "bias", "mean", "variance")}
        x = (x - norm["mean"]) / np.sqrt(norm["variance"] + 1e-5) * norm["weight"] + norm["bias"]
    return x


def near(found, wanted, operand):
    """A number next to a rounding boundary may fall on its other side: then it is off by one step, rarely."""
    if operand == "fp32":
        return np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    step = {"fp16": 2.0**-10, "tf32": 2.0**-10, "bf16": 2.0**-7, "fp8": 2.0**-4}[operand]
    error = np.abs(found - wanted)
    assert error.max(initial=0) < 4 * step, error.max()
    assert np.median(error) < 0.02 * step if error.size else True


CHANGES = (
    {},
    {"hidden": ()},
    {"hidden": (40, 24), "hidden_activation": "mish", "last_activation": "sigmoid"},
    {"transform": "gaussian", "batch_norm": True},
    {"buckets": 200, "last_activation": "mish"},
)


@pytest.mark.parametrize(
    ("changes", "operand"),
    [(changes, operand) for operand in ("fp32", "fp16", "bf16") for changes in CHANGES] + [(CHANGES[2], "tf32")],
    ids=str,
)
def test_rows_are_those_of_the_reference(changes, operand):
    dhe = replace(SMALL, **changes)
    draw = np.random.default_rng(5)
    each = [draw.integers(0, 1 << 40, count) for count in (33, 0, 5)]
    for seed, found in enumerate(run(dhe, DIM, each, operand=operand, rows=32)):
        near(found, expected(dhe, DIM, each[seed], seed, operand), operand)


@pytest.mark.parametrize("rows", [32, 64, 128])
@pytest.mark.parametrize("dim", [1, 7, 72])
def test_every_shape_of_block(rows, dim):
    ids = np.arange(70)
    (found,) = run(SMALL, dim, [ids], rows=rows, index="int32")
    near(found, expected(SMALL, dim, ids, 0, "fp16"), "fp16")


@pytest.mark.parametrize(("operand", "rows"), [("fp32", 64), ("fp32", 128), ("tf32", 128)])
def test_products_of_whole_words_in_every_shape(operand, rows):
    """A hidden layer that fills the tiles of no shape, more hashes than chunks, a dim that is odd."""
    dhe = replace(SMALL, k=70, hidden=(72, 20))
    ids = np.arange(70)
    (found,) = run(dhe, 7, [ids], operand=operand, rows=rows)
    near(found, expected(dhe, 7, ids, 0, operand), operand)


def test_float32_is_closer_than_tf32():
    ids, dhe = np.arange(40), replace(SMALL, k=256)
    wanted = expected(dhe, DIM, ids, 0, "fp32")
    exact, coarse = (np.abs(run(dhe, DIM, [ids], operand=way)[0] - wanted).max() for way in ("fp32", "tf32"))
    assert exact < 1e-5 < coarse


def test_output_in_16_bits():
    ids = np.arange(20)
    (exact,) = run(SMALL, DIM, [ids], rows=32)
    (found,) = run(SMALL, DIM, [ids], rows=32, output="bf16")
    np.testing.assert_allclose(found, exact, rtol=2.0**-8)


def test_hashes_are_exact_up_to_31_bits():
    """Codes as they are: one layer of ones on the diagonal, so that row j is code j."""
    for prime, buckets in ((2_147_483_629, 1_000_000), (10_000_019, 999_983), (1_000_003, 1_000_000)):
        dhe = Dhe(k=32, prime=prime, buckets=buckets, hidden=(), last_activation="none")
        parameters = parameters_of(dhe, 32) | {
            "0.weight": np.eye(32, dtype=np.float32),
            "0.bias": np.zeros(32, np.float32),
        }
        ids = np.random.default_rng(1).integers(0, 1 << 62, 64)
        gpu = device()
        placed = [
            gpu.place(x) for x in (ids, packed_decoder(dhe, parameters, 32, "fp16"), np.zeros((64, 32), np.float32))
        ]
        feature = HashedRows(placed[0].address, 64, placed[1].address, placed[2].address, 128, prime, buckets)
        gpu.run(decode(dhe, 32, [feature], operand="fp16", rows=32))
        found = gpu.fetch(placed[2].address, (64, 32), "float32")
        wanted = (2.0 * hash_ids(dhe, parameters, ids) / (buckets - 1) - 1.0).astype(np.float16)
        # One step of fp16 where a code lies between two; a hash that is off by more than a few shows.
        assert np.abs(found - wanted.astype(np.float32)).max() <= 2.0**-10
        assert (found == wanted).mean() > 0.99


def test_rows_may_be_written_by_number_and_counted_on_the_gpu():
    written_by_number("fp16", rows=32)


def written_by_number(operand, **options):
    """70 ids are announced and 40 there are: rows go where their numbers say, and all others stay as they were."""
    gpu, draw = device(), np.random.default_rng(3)
    ids, numbers = draw.integers(0, 1 << 40, 70), draw.permutation(100).astype(np.int32)[:70]
    packed = packed_decoder(SMALL, parameters_of(SMALL, DIM), DIM, operand)
    arrays = (ids, packed, np.full((100, DIM), 7, np.float32), np.array([9, 40], np.int32), numbers)
    kept = [gpu.place(array) for array in arrays]
    ids_at, parameters, out, counted, numbers_at = (memory.address for memory in kept)
    one = HashedRows(ids_at, 70, parameters, out, DIM * 4, SMALL.prime, SMALL.buckets, counted + 4, numbers_at)
    gpu.run(decode(SMALL, DIM, [one], operand=operand, **options))
    found = gpu.fetch(out, (100, DIM), "float32")
    near(found[numbers[:40]], expected(SMALL, DIM, ids[:40], 0, operand), operand)
    assert (np.delete(found, numbers[:40], axis=0) == 7).all()


def test_what_the_kernel_cannot_do_is_refused():
    with pytest.raises(UnavailableError, match="more than 31 bits"):
        decode(Dhe(prime=2_147_483_659), 16, [])
    with pytest.raises(CapacityError, match="Use narrower hidden layers"):
        decode(Dhe(prime=1009, hidden=(4096,)), 16, [])
