"""DLRM with Criteo-Kaggle's 26 tables, 2.2 GB of them: predictions equal PyTorch's, and the artifact opens at once."""

import shutil
import time

import numpy as np
import pytest
from checkpoints import dlrm, engine_of, save_checkpoint

import recsmith
from recsmith.data import shapes
from recsmith.importers import artifact
from recsmith.spec import Batch, Jagged

pytest.importorskip("torch")
pytestmark = pytest.mark.slow

_DISK_BYTES = 6 << 30


def zipf_batch(model, batch, seed):
    draw = np.random.default_rng(seed)
    ids = [(draw.zipf(1.05, batch) - 1) % table.rows for table in model.tables]
    dense = draw.normal(size=(batch, model.dense_inputs)).astype(np.float32)
    return Batch(Jagged(np.concatenate(ids).astype(np.int64), None, batch), dense)


def test_full_size_predictions_equal_pytorch(tmp_path):
    if shutil.disk_usage(tmp_path).free < _DISK_BYTES:
        pytest.skip("needs 6 GB of free disk")
    rows = [table.rows for table in shapes.shape("criteo_kaggle").model.tables]
    assert len(rows) == 26
    save_checkpoint(dlrm(rows, 16), tmp_path / "dlrm.pt")
    model, weights = recsmith.load(tmp_path / "dlrm.pt")
    assert model.nbytes == sum(rows) * 64
    artifact.save(model, weights, tmp_path / "model")
    began = time.perf_counter()
    model, weights = recsmith.load(tmp_path / "model")
    assert time.perf_counter() - began < 1
    with engine_of(model, weights) as engine:
        found = recsmith.verify(model, engine, tmp_path / "dlrm.pt", [zipf_batch(model, n, n) for n in (1, 128, 2048)])
    assert found.passed, found
    assert found.samples == 2177
    shutil.rmtree(tmp_path)
