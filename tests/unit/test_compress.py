"""Models brought inside a memory: by bytes alone, and by trying."""

import json

import pytest

from recsmith.data import shapes
from recsmith.representations import hold
from recsmith.representations.budget import fitting, within
from recsmith.spec import CapacityError, Dhe, Table
from recsmith.training.recipe import Recipe, untrained


def kaggle():
    return shapes.shape("criteo_kaggle").model


def test_criteo_kaggle_fits_200_mb_with_dhe_for_its_five_largest_tables():
    model = kaggle()
    mlps = 4 * sum(a * b + b for a, b in [(13, 512), (512, 256), (256, 64), (64, 16), (367, 512), (512, 256), (256, 1)])
    assert 2_160_000_000 < model.nbytes < 2_161_000_000
    held = hold(model, None, "select")
    assert sum(table.computed is not None for table in held.tables) == 5
    assert held.nbytes + mlps < 200_000_000
    assert set(within(model, 200_000_000 - mlps).features) <= {f.name for f in held.features}


def test_no_more_tables_become_dhe_than_needed():
    model = untrained("m", {"a": 400_000, "b": 300_000, "c": 50}, (), 3, Recipe())
    assert within(model, model.nbytes).features == {}
    assert list(within(model, model.nbytes - 1).features) == ["a"]
    assert list(within(model, 10_000_000).features) == ["a", "b"]


def test_what_cannot_fit_says_how_much_is_left():
    model = untrained("m", {"a": 400_000, "c": 50}, (), 3, Recipe())
    least = hold(model, None, within(model, 10_000_000)).nbytes
    with pytest.raises(CapacityError, match=f"weigh {least:,} bytes"):
        within(model, least - 1)


def test_settings_of_the_callers_own():
    model = untrained("m", {"a": 40_000}, (), 3, Recipe())
    chosen = within(model, 100_000, lambda table: Dhe(k=8, hidden=(4,)))
    assert chosen.features["a"].k == 8 and isinstance(hold(model, None, chosen).tables[0], Table)


def test_each_representation_is_as_large_as_fits():
    model = untrained("m", {"a": 400_000, "b": 300_000, "c": 50}, (), 3, Recipe())
    tenth = model.nbytes // 10
    found = fitting(model, tenth)
    assert set(found) == {"dhe", "quotient_remainder", "mixed_dimension"}
    assert all(hold(model, None, choice).nbytes <= tenth for choice in found.values())
    assert (
        found["mixed_dimension"].features["a"].width == 1 and found["quotient_remainder"].features["a"].collisions == 12
    )
    assert found["dhe"].features == within(model, tenth).features
    small = fitting(model, model.nbytes // 60)
    assert set(small) == {"dhe", "quotient_remainder"} and small["dhe"].features["a"].k == 224
    assert fitting(model, 3000) == {}


def test_compress_tries_what_fits_and_writes_the_best(tmp_path):
    pytest.importorskip("torch")
    from recsmith import api

    data = "synthetic:criteo_kaggle,samples=3000,cap=60000,seed=2"
    recipe = Recipe(dim=16, bottom=(16,), top=(16,), passes=1)
    whole = api.train(data, tmp_path / "whole", recipe=recipe, threads=1, resamples=0)
    memory = whole.table_bytes * 45 // 100
    done = api.compress(tmp_path / "whole", memory, data, tmp_path / "small", resamples=20, steps=20)
    tried = {each.name: each for each in done.candidates}
    assert tried["bf16"].quality is None and f"{memory:,} allowed" in tried["bf16"].why_not
    fitting = {name: each.quality.logloss.value for name, each in tried.items() if each.quality}
    assert set(fitting) >= {"int8", "int4"} and all(tried[name].nbytes <= memory for name in fitting)
    assert fitting[done.chosen] == min(fitting.values())
    assert abs(fitting["int8"] - done.original.logloss.value) < 1e-3
    converted = {name for name in fitting if name.endswith(", converted")}
    assert converted == {f"{name}, converted" for name in fitting if f"{name}, converted" in tried}
    assert {"dhe, converted", "quotient_remainder, converted", "mixed_dimension, converted"} == converted
    model, _ = api.load(tmp_path / "small" / "model")
    assert model.nbytes <= memory and json.loads(done.to_json())["chosen"] == done.chosen
