"""What the published DHE module (MP-Rec's artifact, `DHEBag`, second of two tables, seed 7) gave for hand-set weights.

k = 4, decoder 4-3-2, in double precision after the code; layer weights count -0.5, -0.25, 0, 0.25, 0.5 over and over,
biases -0.5, 0, 0.5.
"""

import numpy as np
import pytest
import recsmith._native as _native

from recsmith.executor.rows import row_maker
from recsmith.reference import computed_rows
from recsmith.representations.dhe import hashes
from recsmith.spec import Dhe, Table

IDS = np.array([0, 1, 17, 17 + 1_000_003, 10_131_226])
PAIRS = [(561914, 98702), (383453, 611097), (60817, 953893), (532085, 225127)]
ROWS = {
    ("uniform", "sigmoid"): [
        [0.377541, 0.488253],
        [0.377541, 0.328324],
        [0.361378, 0.534638],
        [0.361378, 0.534638],
        [0.377541, 0.408960],
    ],
    ("gaussian", "mish"): [
        [-0.292908, 0.122872],
        [-0.249128, -0.210866],
        [-0.220744, -0.215904],
        [-0.220744, -0.215904],
        [-0.257201, -0.055698],
    ],
}


@pytest.mark.parametrize(("transform", "last"), ROWS)
def test_rows_are_those_of_the_published_module(transform, last):
    dhe = Dhe(4, 1_000_003, transform=transform, hidden=(3,), last_activation=last, seed=7, draw=1)
    table = Table("t", 10_131_227, 2, computed=dhe)
    a, b = hashes(dhe)
    assert list(zip(a.tolist(), b.tolist(), strict=True)) == PAIRS
    parameters = {"a": a, "b": b}
    for layer, shape in enumerate([(3, 4), (2, 3)]):
        count = np.arange(shape[0] * shape[1]) % 5
        parameters[f"{layer}.weight"] = ((count - 2) / 4).reshape(shape).astype(np.float32)
        parameters[f"{layer}.bias"] = ((np.arange(shape[0]) - 1) / 2).astype(np.float32)
    np.testing.assert_allclose(computed_rows(table, parameters, IDS), ROWS[transform, last], atol=1e-6)
    pytest.importorskip("torch")
    for target in _native.targets():
        found = np.empty((len(IDS), 2), np.float32)
        row_maker(table, parameters, target).write(IDS, found)
        np.testing.assert_allclose(found, ROWS[transform, last], atol=2e-6)
