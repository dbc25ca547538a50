"""Computed tables bound to the emulated GPU: rows are made once for each different id, look-ups go over them."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from emulated import device
from msgspec.structs import replace
from test_cuda_executor import PLATFORM
from test_hashed import SMALL, expected_rows, parameters_of
from torch_double import TorchDouble

from recsmith import api
from recsmith.executor.cuda import compile
from recsmith.kernels.cuda.call import Ids, StoredRows, Vectors
from recsmith.kernels.cuda.distinct import Noted, distinct, packed_kept, slots_for
from recsmith.reference import forward, lookup
from recsmith.spec import (
    Batch,
    Dhe,
    Feature,
    IdMap,
    IdRangeError,
    Interaction,
    Jagged,
    Mlp,
    Model,
    PlanError,
    QuotientRemainder,
    Serving,
    Table,
    UnavailableError,
    Weights,
    Workload,
)

DIM = 8
OTHER = replace(SMALL, prime=2003, buckets=1500)


def mixed(**changes):
    """Two features share a DHE, one of them with padding; a third has another; one is stored, one is both."""
    tables = (
        Table("a", 900, DIM, computed=SMALL),
        Table("b", 50, DIM),
        Table("c", 7, DIM, computed=OTHER),
        Table("d", 30, DIM),
        Table("e", 30, DIM, computed=SMALL),
    )
    features = (
        Feature("fa", "a"),
        Feature("fa2", "a", "mean", padding_id=3),
        Feature("fb", "b"),
        Feature("fc", "c", **changes),
        Feature("fd", "d", beside="e"),
    )
    model = Model("mixed", tables, features)
    draw = np.random.default_rng(1)
    parameters = {}
    for at, table in enumerate(tables):
        if table.computed is not None:
            parameters |= {f"{table.name}.{k}": v for k, v in parameters_of(table.computed, DIM, at).items()}
    stored = {t.name: draw.normal(size=(t.rows, DIM)).astype(np.float32) for t in tables if t.computed is None}
    return model, Weights(stored, {}, {}, parameters)


def finished(model, weights, precision="bf16"):
    """The model with its rows as the kernel computes them, stored; in fp32 these are the module's own."""
    tables = tuple(replace(table, computed=None) for table in model.tables)
    rows = dict(weights.tables)
    for table in model.tables:
        if table.computed is not None:
            ids = np.arange(table.rows)
            rows[table.name] = expected_rows(table.computed, weights.of(table.name), ids, precision).astype(np.float32)
    return replace(model, tables=tables), Weights(rows, weights.dense)


def drawn(model, batch, *, one_hot, seed=0):
    draw = np.random.default_rng(seed)
    lengths = (
        np.ones((len(model.features), batch), int) if one_hot else draw.integers(0, 5, (len(model.features), batch))
    )
    # Few different ids: most come several times, 3 is padding for one feature.
    parts = [
        draw.integers(0, min(6, model.table_of(feature).rows), n.sum())
        for feature, n in zip(model.features, lengths, strict=True)
    ]
    offsets = np.concatenate([[0], np.cumsum(lengths.reshape(-1))])
    return Jagged(np.concatenate(parts), None if one_hot else offsets, batch)


def ways(model, **changes):
    return [Serving(t.name, **({"precision": "bf16"} | changes)) for t in model.tables if t.computed is not None]


HOT = {"a": np.array([3, 5, 899, 0]), "c": np.array([6, 2]), "e": np.array([1, 29])}


def cached():
    return [Serving(name, "cache", len(ids) - 1, "bf16") for name, ids in HOT.items()]


def bind(model, weights, serving=None, batch=8, platform=PLATFORM, **options):
    plan = api.plan(
        model,
        platform,
        Workload.uniform(model, batch),
        planner="symmetric",
        allow=["gm"],
        serving=ways(model) if serving is None else serving,
    )
    return compile(model, plan, weights, platform=platform, device=device(), **options)


def near(found, wanted, precision="bf16"):
    """A code or a hidden element next to a rounding boundary may fall on its other side, rarely."""
    if precision == "fp32":
        return np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    error = np.abs(found - wanted) / (8 if precision == "fp8" else 1)
    assert found.shape == wanted.shape and error.max(initial=0) < 0.1 and np.median(error) < 1e-3, error.max()


@pytest.mark.parametrize("one_hot", [True, False])
@pytest.mark.parametrize(
    ("way", "precision"), [("compute", "bf16"), ("materialise", "bf16"), ("compute", "fp32"), ("materialise", "tf32")]
)
def test_look_ups_are_those_of_the_finished_tables(way, precision, one_hot):
    model, weights = mixed()
    stored, rows = finished(model, weights, precision)
    with bind(model, weights, ways(model, way=way, precision=precision)) as engine:
        for seed, batch in enumerate((5, 17, 17)):
            ids = drawn(model, batch, one_hot=one_hot, seed=seed)
            looked = engine.lookup(ids)
            near(looked.pooled, lookup(stored, rows, ids)[0], precision)
            assert looked.replaced == 0


def test_vectors_without_pooling_and_either_type_of_ids():
    model, weights = mixed(pooling="none")
    stored, rows = finished(model, weights)
    ids = drawn(model, 9, one_hot=False)
    narrow = replace(ids, values=ids.values.astype(np.int32), offsets=ids.offsets.astype(np.int32))
    wanted, sequences = lookup(stored, rows, ids)
    with bind(model, weights) as engine:
        for each in (ids, narrow):
            looked = engine.lookup(each)
            near(looked.pooled, wanted)
            near(looked.sequences["fc"], sequences["fc"])


@pytest.mark.parametrize(("precision", "way"), [("fp32", "compute"), ("bf16", "compute"), ("fp32", "cache")])
def test_whole_predictions(precision, way):
    pytest.importorskip("torch")
    model, weights = mixed()
    vectors = len(model.vectors) + 1
    width = DIM + vectors * (vectors - 1) // 2
    bottom, top = Mlp((4, DIM), ("relu",), "bottom"), Mlp((width, 1), ("sigmoid",), "top")
    model = replace(model, dense_inputs=4, bottom=bottom, interaction=Interaction("dot"), top=top)
    draw = np.random.default_rng(5)
    dense = {}
    for part in (bottom, top):
        dense[f"{part.prefix}.0.weight"] = 0.3 * draw.normal(size=part.widths[::-1]).astype(np.float32)
        dense[f"{part.prefix}.0.bias"] = draw.normal(size=part.widths[1]).astype(np.float32)
    weights = dataclasses.replace(weights, dense=dense)
    stored, rows = finished(model, weights)
    batch = Batch(drawn(model, 17, one_hot=True), draw.normal(size=(17, 4)).astype(np.float32))
    wanted = forward(stored, rows, batch.dense, lookup(stored, rows, batch.sparse)[0])
    serving = cached() if way == "cache" else None
    with bind(model, weights, serving, torch_side=TorchDouble(device()), precision=precision, profile=HOT) as engine:
        for _ in range(2):
            assert np.abs(engine.run(batch).values - wanted).max() < 0.05


def test_ids_outside_a_computed_table():
    model, weights = mixed()
    with bind(model, weights) as engine:
        ids = drawn(model, 17, one_hot=True)
        values = ids.values.copy()
        values[17 * 3 + 2] = 7
        with pytest.raises(IdRangeError, match=r"id 7 of feature 'fc' \(value 53\) lies outside table 'c' of 7 rows"):
            engine.lookup(replace(ids, values=values))
        engine.lookup(ids)
    model, weights = mixed(id_map=IdMap(out_of_range="clamp"))
    stored, rows = finished(model, weights)
    with bind(model, weights) as engine:
        looked = engine.lookup(replace(ids, values=values))
        assert looked.replaced == 1
        values[17 * 3 + 2] = 6
        near(looked.pooled, lookup(stored, rows, replace(ids, values=values))[0])


def test_tables_may_differ_in_precision():
    model, weights = mixed()
    each = dict(zip("ace", ("fp32", "tf32", "bf16"), strict=True))
    ids = drawn(model, 17, one_hot=True)
    with bind(model, weights, [Serving(name, precision=how) for name, how in each.items()]) as engine:
        found = engine.lookup(ids).pooled
    for name, precision in each.items():
        stored, rows = finished(model, weights, precision)
        own = slice(*{"a": (0, 2 * DIM), "c": (3 * DIM, 4 * DIM), "e": (5 * DIM, 6 * DIM)}[name])
        near(found[:, own], lookup(stored, rows, ids)[0][:, own], precision)


def test_each_different_id_is_noted_once(monkeypatch):
    """Two features of one table, whatever the order in which threads come."""
    draw = np.random.default_rng(0)
    values = np.concatenate([draw.integers(0, 40, 300), draw.integers(20, 60, 300)])
    for order in ("0", "1", "2"):
        monkeypatch.setenv("RECSMITH_EMULATED_ORDER", order)
        gpu, slots = device(), slots_for(600)
        arrays = (
            values,
            np.zeros(slots, np.uint64),
            np.zeros(1, np.int32),
            np.zeros(600, np.int64),
            np.zeros(600, np.int32),
        )
        kept = [gpu.place(array) for array in arrays]
        at, keys, counts, listed, numbers = (memory.address for memory in kept)
        rows = StoredRows(0, 60, DIM, "fp32", 0)
        noted = [Noted(Vectors(rows, f, 0, 0, padding_id=None if f else 5), 0, listed, numbers) for f in range(2)]
        gpu.run(distinct(noted, Ids(at, 300), keys, slots, counts))
        found = gpu.fetch(at, (600,), "int64")
        (count,) = gpu.fetch(counts, (1,), "int32")
        of = dict(zip(gpu.fetch(listed, (count,), "int64"), gpu.fetch(numbers, (count,), "int32"), strict=True))
        padding = np.arange(600) < 300
        wanted = [0 if pad and value == 5 else of[value] for pad, value in zip(padding, values, strict=True)]
        assert found.tolist() == wanted
        assert max(Counter(of.values()).values()) == 1 and min(of.values()) >= 1 and max(of.values()) <= slots
        assert set(of) == set(values[300:]) | set(values[:300]) - {5}


@pytest.mark.parametrize("one_hot", [True, False])
def test_kept_rows_are_looked_up_and_the_others_computed(one_hot):
    """Two features share a table, one of them with padding that is hot; one table keeps all ids but one of a batch."""
    model, weights = mixed()
    stored, rows = finished(model, weights)
    with bind(model, weights, cached(), profile=HOT) as engine:
        for seed, batch in enumerate((5, 17, 17)):
            ids = drawn(model, batch, one_hot=one_hot, seed=seed)
            near(engine.lookup(ids).pooled, lookup(stored, rows, ids)[0])
        for name, kept in engine._computed.kept.items():
            # From now on what was kept is recognised wherever it goes.
            device().upload(kept.rows.address + 32, np.full((kept.count, DIM), 7, np.float32))
            device().synchronize()
            rows.tables[name][HOT[name][: kept.count]] = 7
        near(engine.lookup(ids).pooled, lookup(stored, rows, ids)[0])


def test_kept_rows_without_pooling():
    model, weights = mixed(pooling="none")
    stored, rows = finished(model, weights)
    ids = drawn(model, 9, one_hot=False)
    wanted, sequences = lookup(stored, rows, ids)
    with bind(model, weights, cached(), profile=HOT) as engine:
        looked = engine.lookup(ids)
        near(looked.pooled, wanted)
        near(looked.sequences["fc"], sequences["fc"])


def test_kept_ids_are_not_noted():
    draw = np.random.default_rng(0)
    values, kept = draw.integers(0, 1000, 400), draw.permutation(1000)[:300]
    gpu, slots, places = device(), slots_for(400), packed_kept(kept)
    assert sorted(places[places[:, 0] > 0].tolist()) == sorted([x + 1, at + 1] for at, x in enumerate(kept.tolist()))
    arrays = (values, np.zeros(slots, np.uint64), np.zeros(1, np.int32), np.zeros(400, np.int64))
    memories = [gpu.place(array) for array in (*arrays, np.zeros(400, np.int32), places)]
    at, keys, counts, listed, numbers, places_at = (memory.address for memory in memories)
    noted = Noted(
        Vectors(StoredRows(0, 1000, DIM, "fp32", 0), 0, 0, 0), 0, listed, numbers, places_at, len(places), 301
    )
    gpu.run(distinct([noted], Ids(at, 400), keys, slots, counts))
    found = gpu.fetch(at, (400,), "int64")
    (count,) = gpu.fetch(counts, (1,), "int32")
    assert set(gpu.fetch(listed, (count,), "int64")) == set(values) - set(kept)
    of = {x: at + 1 for at, x in enumerate(kept)}
    of |= dict(zip(gpu.fetch(listed, (count,), "int64"), gpu.fetch(numbers, (count,), "int32") + 300, strict=True))
    assert found.tolist() == [of[value] for value in values]


def test_a_profile_that_does_not_say_what_to_keep_is_refused():
    model, weights = mixed()
    for profile, problem in (
        (None, "keeps 3 rows of table 'a', its profile names none"),
        ({**HOT, "c": HOT["c"][:0]}, "keeps 1 rows of table 'c', its profile names 0"),
        ({**HOT, "a": np.array([1, 2, 900])}, "profile of table 'a' repeats ids or leaves it"),
        ({**HOT, "a": np.array([1, 2, 2])}, "profile of table 'a' repeats ids or leaves it"),
    ):
        with pytest.raises(PlanError, match=problem):
            bind(model, weights, cached(), profile=profile)


def test_what_has_no_kernel_is_refused_with_a_remedy():
    model, weights = mixed()
    with pytest.raises(UnavailableError, match=r"\(Dhe, to be served by 'centroids'\) has no CUDA kernel"):
        bind(model, weights, ways(model, way="centroids", centroids=2))
    held = replace(model, tables=(replace(model.tables[0], computed=QuotientRemainder()), *model.tables[1:]))
    with pytest.raises(UnavailableError, match="QuotientRemainder, to be served by 'compute'"):
        bind(held, weights, ways(held))
    plan = api.plan(model, PLATFORM, Workload.uniform(model, 8), planner="symmetric", allow=["gm"], serving=ways(model))
    with pytest.raises(PlanError, match="this plan was made for model"):
        compile(model, replace(plan, serving=plan.serving[:-1]), weights, platform=PLATFORM, device=device())
    large = Table("a", 10, DIM, computed=Dhe(k=32, prime=2_147_483_659, hidden=()))
    other = Model("large", (large,), (Feature("f", "a"),))
    own = Weights({}, {}, {}, {f"a.{k}": v for k, v in parameters_of(large.computed, DIM).items()})
    with pytest.raises(UnavailableError, match="more than 31 bits"):
        bind(other, own)
