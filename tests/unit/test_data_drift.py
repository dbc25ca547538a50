"""Traces whose popular rows change."""

import numpy as np

from recsmith.data import drift, traces
from recsmith.spec import Feature, Model, Table

MODEL = Model("m", (Table("t0", 1000, 4), Table("t1", 3, 4)), (Feature("f0", "t0"), Feature("f1", "t1")))


def test_ids_stay_inside_and_popular_rows_wander(tmp_path):
    file = drift.write(MODEL, tmp_path / "ids.parquet", samples=20_000, alpha=1.2, turns=0.5)
    columns = traces.read(file, ["f0", "f1"])
    ids = columns["f0"].values
    assert columns["f0"].samples == 20_000 and ids.min() >= 0 and ids.max() < 1000
    assert set(np.unique(columns["f1"].values)) == {0, 1, 2}
    first, last = (np.bincount(part, minlength=1000).argmax() for part in (ids[:1000], ids[-1000:]))
    assert abs((last - first) % 1000 - 500) < 80


def test_the_same_seed_gives_the_same_trace():
    one, two = (list(drift.batches(MODEL, 4_500, 1.05, 1.0, 7)) for _ in range(2))
    assert [ids.batch for ids in one] == [2000, 2000, 500]
    assert all((a.values == b.values).all() for a, b in zip(one, two, strict=True))
