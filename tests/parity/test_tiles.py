"""Vectors written in tiles are, bit for bit, those written feature by feature."""

import numpy as np
import pytest
from hand_plans import build, owned, symmetric
from hypothesis import given, settings
from hypothesis import strategies as st

from recsmith.kernels.cpu import targets
from recsmith.reference import encode
from recsmith.spec import Feature, IdMap, InputError, Jagged, Model, RowFormat, Table, Tuning, Weights

DTYPES = ("fp32", "fp16", "bf16", "int8", "int4")
TILES = Tuning(8, "t0", 20)


def model_of(dims, dtype="fp32", **changes) -> Model:
    """A feature a table; `changes` are made to the fourth feature."""
    features = [Feature(f"f{i}", f"t{i}") for i in range(len(dims))]
    fourth = Feature("f3", "t3", **changes)
    features[3] = fourth
    tables = tuple(Table(f"t{i}", 5 + 11 * i, dim, RowFormat(dtype)) for i, dim in enumerate(dims))
    return Model(name="tiles", features=tuple(features), tables=tables)


def weights_of(model: Model) -> Weights:
    draw = np.random.default_rng(1)
    return Weights(
        {t.name: encode(draw.standard_normal((t.rows, t.dim)).astype(np.float32), t.format) for t in model.tables}
    )


def ids_of(model: Model, batch: int, lengths=None, dtype=np.int64) -> Jagged:
    """One id each, or bags of `lengths` ids [features, batch]."""
    draw = np.random.default_rng(batch)
    lengths = np.ones((len(model.features), batch), np.int64) if lengths is None else lengths
    values = [draw.integers(0, model.table_of(f).rows, n.sum()) for f, n in zip(model.features, lengths, strict=True)]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(dtype)
    return Jagged(np.concatenate(values).astype(dtype), offsets, batch)


def single(ids: Jagged) -> Jagged:
    return Jagged(ids.values, None, ids.batch)


def assert_same(model: Model, ids: Jagged, tuning: Tuning = TILES, plan=symmetric, **options) -> None:
    weights = weights_of(model)
    with (
        build(model, weights, plan(model), **options) as usual,
        build(model, weights, symmetric(model, "gm", tuning), **options) as tiled,
    ):
        wanted = usual.lookup(ids)
        got = tiled.lookup(ids)
        np.testing.assert_array_equal(got.pooled, wanted.pooled)
        assert got.replaced == wanted.replaced


@pytest.mark.parametrize("isa", targets())
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_format_and_dim(isa, dtype):
    for dim in (1, 7, 16, 24, 32, 64, 128, 200):
        model = model_of([dim] * 6, dtype)
        for batch in (600, 65, 16, 15, 1):
            assert_same(model, single(ids_of(model, batch)), isa=isa)


@pytest.mark.parametrize("stores", ["regular", "stream"])
@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_every_block_and_store(stores, block):
    model = model_of([32] * 9)
    for level, distance in (("none", 0), ("t0", 100), ("t1", 4), ("nta", 1)):
        assert_same(model, single(ids_of(model, 130)), Tuning(distance, level, block, stores))


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_offsets_that_say_one_id_each(dtype):
    model = model_of([16] * 8)
    assert_same(model, ids_of(model, 100, dtype=dtype))


def test_runs_of_neighbours_between_others():
    assert_same(model_of([16] * 5 + [32] + [64] * 4 + [16]), single(ids_of(model_of([16] * 11), 50)))


def test_blocks_with_other_bags_go_the_long_way():
    model = model_of([16] * 6)
    lengths = np.ones((6, 100), np.int64)
    lengths[2, 40], lengths[4, 41] = 3, 0
    assert_same(model, ids_of(model, 100, lengths))


@pytest.mark.parametrize(
    "changes",
    [
        {"padding_id": 2},
        {"pooling": "mean"},
        {"id_map": IdMap(kind="modulo")},
        {"id_map": IdMap(out_of_range="wrap")},
    ],
)
def test_features_with_ways_of_their_own(changes):
    model = model_of([16] * 10, **changes)
    ids = single(ids_of(model, 90))
    ids.values[3 * 90 + 17] = 2
    if "id_map" in changes:
        ids.values[3 * 90 + 33] = 10**6
    assert_same(model, ids)


def test_weights_count():
    model = model_of([16] * 6, weighted=True)
    ids = ids_of(model, 70)
    assert_same(model, Jagged(ids.values, ids.offsets, 70, np.linspace(0, 1, len(ids.values), dtype=np.float32)))


@pytest.mark.parametrize("bad", [-1, 5 + 11 * 4])
def test_a_bad_id_is_named_as_always(bad):
    model = model_of([16] * 6)
    ids = single(ids_of(model, 100))
    ids.values[4 * 100 + 77] = bad
    said = []
    for tuning in (Tuning(), TILES):
        with build(model, weights_of(model), symmetric(model, "gm", tuning)) as executable:
            with pytest.raises(InputError, match="'f4'") as caught:
                executable.lookup(ids)
            said.append(str(caught.value))
    assert said[0] == said[1]


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 20), st.sampled_from([8, 16, 32]), st.integers(0, 300), st.integers(1, 100))
def test_any_shape(features, dim, batch, block):
    model = model_of([dim] * features)
    assert_same(model, single(ids_of(model, batch)), Tuning(16, "t0", block), plan=owned)
