"""Whole predictions on the emulated GPU: kernels, graphs and copies as they are, torch's operators by a double."""

import threading

import numpy as np
import pytest
from emulated import device
from msgspec.structs import replace
from test_cuda_executor import PLATFORM, planned, replanned
from torch_double import TorchDouble

from recsmith import api
from recsmith.executor.cuda import compile
from recsmith.reference import forward, lookup
from recsmith.spec import (
    Batch,
    IdRangeError,
    InputError,
    Jagged,
    Mlp,
    Model,
    UnavailableError,
    Weights,
)
from recsmith.testing.joined import joined_case

torch = pytest.importorskip("torch")


def dlrm(seed, *, kind="dot", bottom=True, outputs=1, **more):
    """A DLRM with MLPs of two layers and a batch for it."""
    case = joined_case(seed, kind=kind, **more).case
    draw, dim = np.random.default_rng(seed), case.model.tables[0].dim
    width = case.model.top.widths[0] - (0 if bottom else dim)
    model = replace(
        case.model,
        dense_inputs=5 if bottom else 0,
        bottom=Mlp((5, 12, dim), ("relu", "relu"), "bottom") if bottom else None,
        top=Mlp((width, 9, outputs), ("relu", "sigmoid"), "top"),
    )
    dense = {}
    for part in filter(None, (model.bottom, model.top)):
        for at, (inputs, own) in enumerate(zip(part.widths, part.widths[1:], strict=False)):
            dense[f"{part.prefix}.{at}.weight"] = (draw.normal(size=(own, inputs)) / inputs).astype(np.float32)
            dense[f"{part.prefix}.{at}.bias"] = draw.normal(size=own).astype(np.float32)
    inputs = draw.normal(size=(case.ids.batch, 5)).astype(np.float32) if bottom else None
    return model, Weights(case.weights.tables, dense), Batch(case.ids, inputs)


def bind(model, weights, batch, plan=None, **options):
    plan = plan or planned(model, max(1, batch.sparse.batch))
    options = {"torch_side": TorchDouble(device())} | options
    return compile(model, plan, weights, platform=PLATFORM, device=device(), **options)


def expected(model, weights, batch):
    pooled, _ = lookup(model, weights, batch.sparse)
    return forward(model, weights, batch.dense, pooled)


@pytest.mark.parametrize("one_hot", [True, False])
@pytest.mark.parametrize("kind", ["dot", "cat"])
def test_predictions_are_the_oracles(kind, one_hot):
    for seed, size in enumerate((1, 9, 17)):
        model, weights, batch = dlrm(seed, kind=kind, one_hot=one_hot, batch=size, self_terms=seed == 2)
        with bind(model, weights, batch) as engine:
            for _ in range(3):
                found = engine.run(batch)
                np.testing.assert_allclose(found.values, expected(model, weights, batch), rtol=1e-5)
                assert found.values.shape == (size,) and found.replaced == 0


def test_a_model_without_a_bottom_mlp_joins_by_putting_side_by_side():
    model, weights, batch = dlrm(4, kind="cat", bottom=False, batch=6)
    with bind(model, weights, batch) as engine:
        np.testing.assert_allclose(engine.run(batch).values, expected(model, weights, batch), rtol=1e-5)


def test_several_outputs():
    model, weights, batch = dlrm(1, outputs=3, batch=4)
    with bind(model, weights, batch) as engine:
        found = engine.run(batch).values
        assert found.shape == (4, 3)
        np.testing.assert_allclose(found[:, 0], expected(model, weights, batch), rtol=1e-5)
        assert engine.run(Batch(Jagged(np.zeros(0, np.int64), None, 0), batch.dense[:0])).values.shape == (0, 3)


@pytest.mark.parametrize("strategy", ["l1", "gm_ub"])
def test_vectors_that_are_written_first_are_multiplied_all_the_same(strategy):
    model, weights, batch = dlrm(3, batch=7)
    plan = replanned(model, lambda p: [replace(p, strategy=strategy)], 7)
    with bind(model, weights, batch, plan) as engine:
        np.testing.assert_allclose(engine.run(batch).values, expected(model, weights, batch), rtol=1e-5)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("kind", ["dot", "cat"])
def test_16_bits_are_near(kind, precision):
    """Each of a handful of roundings is off by half a unit in the last place at most."""
    model, weights, batch = dlrm(5, kind=kind, batch=6)
    with bind(model, weights, batch, precision=precision) as engine:
        found, wanted = engine.run(batch).values, expected(model, weights, batch)
    assert 0 < np.abs(found - wanted).max() < {"fp16": 0.004, "bf16": 0.03}[precision]


def test_a_stream_of_batches_comes_in_order():
    """Two graphs take turns; a batch of zero samples and one of another form are among them."""
    model, weights, batch = dlrm(2, one_hot=True, batch=9)
    draw, batches = np.random.default_rng(1), []
    for size in (9, 9, 9, 0, 4, 9, 9):
        ids = np.concatenate([draw.integers(0, table.rows, size) for table in model.tables])
        batches.append(Batch(Jagged(ids, None, size), draw.normal(size=(size, 5)).astype(np.float32)))
    side = TorchDouble(device())
    with bind(model, weights, batch, torch_side=side) as engine:
        found = list(engine.stream(batches))
        for one, each in zip(found, batches, strict=True):
            np.testing.assert_allclose(one.values, expected(model, weights, each), rtol=1e-5)
        assert side.recorded == 3, "two for nine samples, one for four"
        stream = engine.stream(batches)
        next(stream)
        stream.close()
        np.testing.assert_allclose(engine.run(batches[0]).values, found[0].values)


def test_calls_from_several_threads():
    model, weights, batch = dlrm(7, one_hot=True, batch=5)
    wanted = expected(model, weights, batch)
    wrong = []

    def call(engine):
        found = [engine.run(batch).values for _ in range(3)]
        wrong.extend(values for values in found if not np.allclose(values, wanted, rtol=1e-5))

    with bind(model, weights, batch) as engine:
        threads = [threading.Thread(target=call, args=(engine,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_ids_outside_and_dense_inputs_that_are_missing():
    model, weights, batch = dlrm(6, one_hot=True, batch=3)
    with bind(model, weights, batch) as engine:
        ids = batch.sparse.values.copy()
        ids[4] = 10_000
        with pytest.raises(IdRangeError, match=r"id 10000 of feature 'f1' \(value 4\)"):
            engine.run(Batch(replace(batch.sparse, values=ids), batch.dense))
        with pytest.raises(InputError, match=r"dense inputs are none, wanted \[3, 5\]"):
            engine.run(Batch(batch.sparse))
        with pytest.raises(InputError, match=r"dense inputs are \[3, 4\], wanted \[3, 5\]"):
            engine.run(Batch(batch.sparse, batch.dense[:, :4]))
        np.testing.assert_allclose(engine.run(batch).values, expected(model, weights, batch), rtol=1e-5)


def test_torch_without_cuda_is_an_error_and_no_detour():
    if torch.cuda.is_available():
        pytest.skip("torch sees a GPU here")
    model, weights, batch = dlrm(6, batch=3)
    with bind(model, weights, batch, torch_side=None) as engine:
        with pytest.raises(UnavailableError, match="sees no GPU"):
            engine.run(batch)
        assert engine.lookup(batch.sparse).pooled.shape == (3, model.width), "look-ups need no torch"


def test_what_is_no_dlrm_and_what_is_another_gpu():
    model, weights, batch = dlrm(6, batch=3)
    bare = Model(model.name, model.tables, model.features)
    with bind(bare, weights, batch) as engine, pytest.raises(InputError, match="has no dense part"):
        engine.run(batch)
    with pytest.raises(UnavailableError, match="'avx2' was asked for; this GPU is sm_90"):
        bind(model, weights, batch, isa="avx2")


def test_verify_agrees_with_the_module_itself(tmp_path):
    model, weights, batch = dlrm(8, batch=6)
    tables = {t.name: np.asarray(lookup_rows(model, weights, t), np.float32) for t in model.tables}
    plain = replace(
        model,
        tables=tuple(replace(t, format=type(t.format)()) for t in model.tables),
        features=tuple(replace(f, weighted=False, padding_id=None) for f in model.features),
    )
    state = {f"emb_l.{at}.weight": torch.from_numpy(tables[f.table]) for at, f in enumerate(plain.features)}
    for part, name in ((plain.bottom, "bot_l"), (plain.top, "top_l")):
        for at in range(2):
            for kind in ("weight", "bias"):
                state[f"{name}.{2 * at}.{kind}"] = torch.from_numpy(weights.dense[f"{part.prefix}.{at}.{kind}"])
    torch.save(state, tmp_path / "dlrm.pt")
    batch = Batch(replace(batch.sparse, weights=None), batch.dense)
    with bind(plain, Weights(tables, weights.dense), batch) as engine:
        verified = api.verify(plain, engine, tmp_path / "dlrm.pt", [batch])
    assert verified.passed and verified.samples == 6


def lookup_rows(model, weights, table):
    from recsmith.reference import decode

    return decode(weights.tables[table.name], table)
