"""Stacks of layers by oneDNN, and without it."""

import numpy as np
import pytest

from recsmith.executor import linear
from recsmith.reference.computed import activate

torch = pytest.importorskip("torch")


def stack(activation):
    draw = np.random.default_rng(2)
    pairs = zip([(30, 17), (17, 5)], activation, strict=True)
    return [(draw.normal(size=(o, i)) / i**0.5, draw.normal(size=o), name) for (i, o), name in pairs]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("activation", [("relu", "sigmoid"), ("mish", "none"), ("sigmoid", "mish")])
@pytest.mark.parametrize("rows", [0, 1, 3, 100])
def test_layers_are_what_they_should_be(packed, activation, rows, monkeypatch):
    if not packed:
        monkeypatch.setattr(linear, "packs", lambda dtype: False)
    layers = stack(activation)
    x = np.random.default_rng(1).normal(size=(rows, 30))
    wanted = x
    for weight, bias, name in layers:
        wanted = activate(name, wanted @ weight.T + bias)
    with torch.inference_mode():
        for dtype, bound in (("float32", 2e-6), ("bfloat16", 0.05)):
            found = linear.Layers(layers, dtype, 64)(torch.from_numpy(x).to(getattr(torch, dtype)))
            np.testing.assert_allclose(found.float().numpy(), wanted, atol=bound)


def test_rounding_adds_little_and_leaves_few_sizes():
    sizes = [linear.rounded(rows) for rows in range(2049)]
    assert sizes[:18] == [*range(18)] and sizes[33] == 34
    assert all(rows <= size <= rows * 17 / 16 for rows, size in enumerate(sizes))
    assert len(set(sizes)) < 150 and sizes[2048] == 2048
