"""Each native kernel agrees with the float64 oracle: every target, flow, row format and corner case."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recsmith import _native
from recsmith.kernels.cpu import FLOWS, choose_target, targets
from recsmith.reference.rows import decode, encode
from recsmith.spec import RowFormat, Table, UnavailableError

DTYPES = ("fp32", "fp16", "bf16", "int8", "int4")
SINGLE_EPSILON = 2.0**-23


@dataclass(frozen=True)
class Lookup:
    """One feature's look-ups. Lengths None: one id a sample."""

    rows: int
    dim: int
    ids: NDArray[np.int64]
    lengths: NDArray[np.int64] | None
    index: str = "int64"
    align_bytes: int = 1
    offset_bytes: int = 0
    scratch_bytes: int = 1 << 14
    distance: int = 16
    level: str = "t1"


def random_lookup(rows, dim, samples, longest, seed=0, **more):
    rng = np.random.default_rng(seed)
    lengths = None if longest is None else rng.integers(0, longest + 1, samples)
    count = samples if lengths is None else int(lengths.sum())
    return Lookup(rows, dim, rng.integers(0, rows, count), lengths, **more)


def same_ids(rows, dim, samples, length, at):
    return Lookup(rows, dim, np.full(samples * length, at), np.full(samples, length))


CASES = {
    "ONE_HOT": random_lookup(1000, 16, 50, None),
    "ONE_HOT_INT32": random_lookup(1000, 64, 50, None, index="int32"),
    "BAGS": random_lookup(1000, 32, 20, 6),
    "BAGS_INT32": random_lookup(1000, 128, 20, 6, index="int32"),
    "EMPTY_BAG": Lookup(5, 16, np.array([4, 4]), np.array([0, 2, 0, 0])),
    "ALL_BAGS_EMPTY": Lookup(5, 7, np.zeros(0, np.int64), np.zeros(4, np.int64)),
    "EMPTY_BATCH": Lookup(5, 16, np.zeros(0, np.int64), None),
    "EMPTY_BATCH_BAGS": Lookup(5, 16, np.zeros(0, np.int64), np.zeros(0, np.int64)),
    "ONE_ROW": same_ids(1, 16, 3, 2, at=0),
    "ONE_SAMPLE": random_lookup(100, 64, 1, None),
    "LAST_ROW": same_ids(9, 13, 3, 1, at=8),
    "ALL_SAME_ID": same_ids(9, 64, 4, 20, at=3),
    "LONG_BAG": Lookup(4, 64, np.arange(700) % 4, np.array([0, 300, 400])),
    "LONG_BAG_LARGE_TABLE": random_lookup(5000, 48, 2, 3000),
    "DIM_1": random_lookup(40, 1, 9, 5),
    "DIM_3": random_lookup(40, 3, 9, 5),
    "ODD_DIM": random_lookup(40, 37, 9, 5),
    "ODD_DIM_ONE_HOT": random_lookup(40, 37, 30, None),
    "DIM_100": random_lookup(40, 100, 9, 5),
    "DIM_300": random_lookup(40, 300, 5, 5),
    "ALIGNED_ROWS": random_lookup(200, 40, 20, 3, align_bytes=64),
    "UNALIGNED_ROWS": random_lookup(200, 64, 20, 3, offset_bytes=1),
    "UNALIGNED_ODD_DIM": random_lookup(200, 21, 20, None, offset_bytes=3),
    "NO_SCRATCH": random_lookup(200, 16, 20, 3, scratch_bytes=0),
    "LITTLE_SCRATCH": random_lookup(200, 16, 300, 3, scratch_bytes=1500),
    "FAR_AHEAD": random_lookup(200, 16, 20, 3, distance=1000),
    "NO_PREFETCH": random_lookup(200, 16, 20, 3, distance=0),
    "NTA": random_lookup(200, 16, 40, None, level="nta", distance=4),
    "T0": random_lookup(200, 16, 40, None, level="t0", distance=4),
}

MODES = {
    "sum": {},
    "mean": {"mean": True},
    "weighted": {"weighted": True},
    "weighted_mean": {"mean": True, "weighted": True},
    "stream": {"stream": True},
}


def store(lookup: Lookup, dtype: str, seed: int = 1):
    """A table as stored, ending where its buffer ends, and its values."""
    row_format = RowFormat(dtype, lookup.align_bytes)
    table = Table("t", lookup.rows, lookup.dim, row_format)
    values = np.random.default_rng(seed).standard_normal((lookup.rows, lookup.dim)).astype(np.float32)
    stored = encode(values, row_format)
    row_bytes, stride = row_format.row_bytes(lookup.dim), row_format.stride_bytes(lookup.dim)
    raw = stored.view(np.uint8).reshape(lookup.rows, -1)[:, :row_bytes]
    buffer = np.zeros(lookup.offset_bytes + (lookup.rows - 1) * stride + row_bytes, np.uint8)
    rows = np.lib.stride_tricks.as_strided(buffer[lookup.offset_bytes :], (lookup.rows, row_bytes), (stride, 1))
    rows[:] = raw
    return rows, decode(stored, table)


def expected(lookup: Lookup, values, weights, mean):
    """The oracle, and how far single-precision sums may be from it."""
    lengths = np.ones(len(lookup.ids), np.int64) if lookup.lengths is None else lookup.lengths
    bag = np.repeat(np.arange(len(lengths)), lengths)
    scale = np.ones(len(lookup.ids)) if weights is None else weights.astype(np.float64)
    parts = values[lookup.ids] * scale[:, None]
    sums, sizes = np.zeros((len(lengths), lookup.dim)), np.zeros((len(lengths), lookup.dim))
    np.add.at(sums, bag, parts)
    # Quantised rows are summed as codes and biases, whose magnitudes may exceed their difference's.
    largest = np.abs(values).max(axis=1, initial=0.0)[lookup.ids] * np.abs(scale)
    np.add.at(sizes, bag, 4 * largest[:, None])
    if mean:
        sums /= np.maximum(1, lengths)[:, None]
        sizes /= np.maximum(1, lengths)[:, None]
    return sums, (lengths[:, None] + 4) * SINGLE_EPSILON * sizes


def check(target, flow, dtype, lookup: Lookup, *, mean=False, weighted=False, stream=False):
    rows, values = store(lookup, dtype)
    index = np.dtype(lookup.index)
    weights = np.random.default_rng(2).standard_normal(len(lookup.ids)).astype(np.float32) if weighted else None
    offsets = None if lookup.lengths is None else np.concatenate([[0], np.cumsum(lookup.lengths)]).astype(index)
    samples = len(lookup.ids) if lookup.lengths is None else len(lookup.lengths)
    width = lookup.dim + 16
    whole = np.full((samples, width), np.nan, np.float32)
    ids = lookup.ids.astype(index)
    ran = _native.kernel(
        target,
        flow,
        rows,
        dtype,
        lookup.dim,
        ids,
        offsets,
        weights,
        whole[:, : lookup.dim],
        mean=mean,
        stream=stream,
        distance=lookup.distance,
        level=lookup.level,
        scratch_bytes=lookup.scratch_bytes,
        next_ids=ids,
    )
    assert ran == target
    sums, bound = expected(lookup, values, weights, mean)
    np.testing.assert_array_less(np.abs(whole[:, : lookup.dim] - sums), bound + 1e-30)
    assert np.isnan(whole[:, lookup.dim :]).all(), "wrote past dim"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("target", targets())
def test_kernel_agrees_with_the_oracle(target, flow, dtype):
    for (name, lookup), (mode, how) in itertools.product(CASES.items(), MODES.items()):
        try:
            check(target, flow, dtype, lookup, **how)
        except AssertionError as error:
            raise AssertionError(f"{name}, {mode}: {error}") from error


@st.composite
def lookups(draw):
    dim = draw(st.one_of(st.integers(1, 140), st.sampled_from([8, 16, 32, 64, 128])))
    return random_lookup(
        draw(st.integers(1, 300)),
        dim,
        draw(st.integers(0, 40)),
        draw(st.one_of(st.none(), st.integers(0, 60))),
        seed=draw(st.integers(0, 1 << 30)),
        index=draw(st.sampled_from(["int32", "int64"])),
        align_bytes=draw(st.sampled_from([1, 2, 4, 32, 64])),
        offset_bytes=draw(st.integers(0, 5)),
        scratch_bytes=draw(st.integers(0, 20000)),
        distance=draw(st.integers(0, 70)),
        level=draw(st.sampled_from(["none", "t0", "t1", "nta"])),
    )


@settings(max_examples=300, deadline=None)
@given(
    lookups(),
    st.sampled_from(targets()),
    st.sampled_from(FLOWS),
    st.sampled_from(DTYPES),
    st.sampled_from(list(MODES.values())),
)
def test_random_lookups_agree_with_the_oracle(lookup, target, flow, dtype, how):
    check(target, flow, dtype, lookup, **how)


@pytest.mark.parametrize("target", targets())
@pytest.mark.parametrize("flow", FLOWS)
def test_rows_that_nobody_asks_for_may_be_infinite(target, flow):
    rows = np.ones((4, 64), np.float32)
    rows[2] = np.inf
    ids, offsets = np.zeros(100, np.int64), np.array([0, 100])
    out = np.empty((1, 64), np.float32)
    _native.kernel(target, flow, rows.view(np.uint8), "fp32", 64, ids, offsets, None, out, scratch_bytes=4096)
    np.testing.assert_array_equal(out, 100.0)


@pytest.mark.parametrize("target", targets())
def test_fp16_specials_keep_their_value(target):
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(-1, 16)
    out = np.empty(every.shape, np.float32)
    ids = np.arange(len(every))
    _native.kernel(target, "gm", every.view(np.uint8), "fp16", 16, ids, None, None, out)
    np.testing.assert_array_equal(out, every.astype(np.float32))


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("target", targets())
class TestChecks:
    @pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 500])
    def test_first_outside(self, target, index, count):
        ids = np.full(count, 9, index)
        assert _native.first_outside(target, ids, 10) == count
        for at, bad in itertools.product(
            {0, count // 2, count - 1}, (-1, 10, np.iinfo(index).min, np.iinfo(index).max)
        ):
            if count:
                wrong = ids.copy()
                wrong[at] = bad
                assert _native.first_outside(target, wrong, 10) == at

    def test_first_outside_of_nothing_and_of_everything(self, target, index):
        ids = np.array([0, np.iinfo(index).max], index)
        assert _native.first_outside(target, ids, 0) == 0
        assert _native.first_outside(target, ids, 2**62) == (2 if index is np.int32 else 1)

    @pytest.mark.parametrize("bags", [0, 1, 64, 65, 300])
    def test_first_fall(self, target, index, bags):
        offsets = (np.arange(bags + 1) // 3).astype(index)
        assert _native.first_fall(target, offsets) == bags
        if bags:
            offsets[bags] = -1
            assert _native.first_fall(target, offsets) == bags - 1

    @pytest.mark.parametrize("bags", [0, 1, 64, 65, 300])
    def test_one_each(self, target, index, bags):
        offsets = np.arange(7, 8 + bags).astype(index)
        assert _native.one_each(target, offsets)
        if bags:
            offsets[bags] += 1
            assert not _native.one_each(target, offsets)


def test_targets_go_from_scalar_to_best():
    assert targets()[0] == "scalar"
    assert choose_target("auto") == targets()[-1]
    assert [choose_target(name) for name in targets()] == list(targets())


def test_a_forced_target_never_falls_back():
    with pytest.raises(UnavailableError, match="'sve2'"):
        choose_target("sve2")
    with pytest.raises(ValueError, match="sve2"):
        _native.first_fall("sve2", np.zeros(1, np.int64))


def test_bad_input_is_refused():
    rows, out = np.zeros((4, 64), np.uint8), np.zeros((2, 16), np.float32)
    ids = np.array([0, 3])

    def run(ids=ids, offsets=None, weights=None, rows=rows, out=out, **more):
        _native.kernel("scalar", "gm", rows, "fp32", 16, ids, offsets, weights, out, **more)

    run()
    for problem, arguments in {
        "outside the table": {"ids": np.array([0, 4])},
        "offsets fall": {"offsets": np.array([0, 2, 1])},
        "point outside": {"offsets": np.array([0, 1, 3])},
        "offsets is empty": {"offsets": np.zeros(0, np.int64)},
        "differ in length": {"weights": np.zeros(3, np.float32)},
        "too short": {"rows": rows[:, :63]},
        "out must be": {"out": np.zeros((2, 15), np.float32)},
        "prefetch level": {"level": "t9"},
        "out of range": {"scratch_bytes": -1},
    }.items():
        with pytest.raises(ValueError, match=problem):
            run(**arguments)
