"""From an ordinary checkpoint to predictions: they equal PyTorch's."""

import numpy as np
import pytest
from checkpoints import dlrm, engine_of, save_checkpoint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import recsmith
from recsmith.spec import Batch, Jagged

torch = pytest.importorskip("torch")


def random_batch(model, batch, longest, seed):
    draw = np.random.default_rng(seed)
    lengths = draw.integers(0, longest + 1, size=len(model.features) * batch)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    values = np.zeros(offsets[-1], np.int64)
    for i, feature in enumerate(model.features):
        where = slice(offsets[i * batch], offsets[(i + 1) * batch])
        values[where] = draw.integers(0, model.table_of(feature).rows, where.stop - where.start)
    dense = draw.normal(size=(batch, model.dense_inputs)).astype(np.float32)
    return Batch(Jagged(values, offsets, batch), dense)


def check_same(path, batches, **imported):
    """Import, plan, compile and run; compare with the checkpoint run by plain PyTorch."""
    model, weights = recsmith.load(path, **imported)
    with engine_of(model, weights) as engine:
        found = recsmith.verify(model, engine, path, batches)
    assert found.passed, found


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.integers(1, 300), min_size=1, max_size=6),
    dim=st.sampled_from([1, 4, 7, 16, 33, 64]),
    interaction=st.sampled_from(["dot", "cat"]),
    seed=st.integers(0, 99),
)
def test_random_models(tmp_path, rows, dim, interaction, seed):
    model = dlrm(rows, dim, interaction=interaction)
    save_checkpoint(model, tmp_path / "model.pt")
    batches = [random_batch(model, batch, 3, seed) for batch in (1, 5, 64)]
    settled = {"interaction": interaction, "self_terms": False}
    check_same(tmp_path / "model.pt", batches, **settled)


def test_empty_batch_gives_no_predictions(tmp_path):
    model = dlrm([10, 20], 8)
    save_checkpoint(model, tmp_path / "model.pt")
    model, weights = recsmith.load(tmp_path / "model.pt")
    with engine_of(model, weights) as engine:
        assert engine.run(random_batch(model, 0, 1, 0)).values.shape == (0,)


def test_one_hot_without_offsets(tmp_path):
    model = dlrm([50, 3, 1000], 16)
    save_checkpoint(model, tmp_path / "model.pt")
    draw = np.random.default_rng(0)
    ids = np.concatenate([draw.integers(0, table.rows, 40) for table in model.tables])
    dense = draw.normal(size=(40, 13)).astype(np.float32)
    check_same(tmp_path / "model.pt", [Batch(Jagged(ids, None, 40), dense)])
    check_same(tmp_path / "model.pt", [Batch(Jagged(ids.astype(np.int32), None, 40), dense)])


def test_verify_fails_when_a_weight_differs(tmp_path):
    model = dlrm([50, 3], 16)
    module = save_checkpoint(model, tmp_path / "model.pt")
    imported, weights = recsmith.load(tmp_path / "model.pt")
    with torch.no_grad():
        module.emb_l[0].weight[7] += 1e-2
    torch.save(module.state_dict(), tmp_path / "other.pt")
    batch = Batch(Jagged(np.array([7, 0]), None, 1), np.ones((1, 13), np.float32))
    with engine_of(imported, weights) as engine:
        assert recsmith.verify(imported, engine, tmp_path / "model.pt", [batch]).passed
        assert not recsmith.verify(imported, engine, tmp_path / "other.pt", [batch]).passed
