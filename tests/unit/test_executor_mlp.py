"""MLPs: by either library, and over more rows than the batch has."""

import numpy as np
import pytest

from recsmith.executor import mlp
from recsmith.executor.dense import Dlrm
from recsmith.executor.linear import rounded
from recsmith.spec import InputError, Interaction, Mlp, Model, Table, Weights

torch = pytest.importorskip("torch")

PART = Mlp((30, 40, 8, 1), ("relu", "sigmoid", "none"), "top")


def weights(part=PART, seed=0):
    draw = np.random.default_rng(seed)
    dense = {}
    for at, (wide, out) in enumerate(zip(part.widths, part.widths[1:], strict=False)):
        dense[f"{part.prefix}.{at}.weight"] = draw.normal(0, wide**-0.5, (out, wide)).astype(np.float32)
        dense[f"{part.prefix}.{at}.bias"] = draw.normal(size=out).astype(np.float32)
    return Weights({}, dense)


def oracle(x, part=PART):
    dense = weights(part).dense
    for at, activation in enumerate(part.activations):
        x = x @ dense[f"{part.prefix}.{at}.weight"].T.astype(np.float64) + dense[f"{part.prefix}.{at}.bias"]
        x = np.maximum(x, 0) if activation == "relu" else 1 / (1 + np.exp(-x)) if activation == "sigmoid" else x
    return x


@pytest.mark.parametrize("worth", [1, 1 << 15, 1 << 40], ids=["packed", "some packed", "plain"])
@pytest.mark.parametrize("batch", [0, 1, 33, 200])
def test_either_library_gives_the_same(worth, batch, monkeypatch):
    monkeypatch.setattr(mlp, "WORTH_FLOPS", worth)
    x = np.random.default_rng(batch).normal(size=(batch, 30)).astype(np.float32)
    with torch.inference_mode():
        found = mlp.MlpLayers(PART, weights())(torch.from_numpy(x), batch).numpy()
    assert found.shape == (batch, 1)
    np.testing.assert_allclose(found, oracle(x), atol=3e-6)


def test_rows_behind_the_batch_change_nothing(monkeypatch):
    monkeypatch.setattr(mlp, "WORTH_FLOPS", 1)
    x = np.random.default_rng(3).normal(size=(rounded(33), 30)).astype(np.float32)
    other = x.copy()
    other[33:] = np.nan
    layers = mlp.MlpLayers(PART, weights())
    with torch.inference_mode():
        np.testing.assert_array_equal(layers(torch.from_numpy(x), 33), layers(torch.from_numpy(other), 33))


def test_missing_weights_are_named():
    with pytest.raises(InputError, match=r"top\.2\.bias"):
        mlp.MlpLayers(PART, Weights({}, {k: v for k, v in weights().dense.items() if k != "top.2.bias"}))


def test_batches_of_changing_sizes_through_one_buffer(monkeypatch):
    monkeypatch.setattr(mlp, "WORTH_FLOPS", 1)
    model = Model("m", (Table("t", 3, 30),), (), interaction=Interaction("cat"), top=PART)
    dense, draw = Dlrm(model, weights()), np.random.default_rng(5)
    for batch in (33, 7, 100, 1, 0, 64):
        x = draw.normal(size=(batch, 30)).astype(np.float32)
        room = dense.room(batch)
        room[:] = x
        np.testing.assert_allclose(dense.top(room), oracle(x)[:, 0], atol=3e-6)
        np.testing.assert_allclose(dense.top(x), oracle(x)[:, 0], atol=3e-6)
