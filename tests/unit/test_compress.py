"""Models brought inside a memory: by bytes alone, and by trying."""

import json

import numpy as np
import pytest
from msgspec.structs import replace

from recsmith.api.compressing import CANDIDATES
from recsmith.api.weighing import dense_bytes, weigh
from recsmith.data import shapes
from recsmith.data.store import Store
from recsmith.representations import hold
from recsmith.representations.budget import KINDS, fitting, within
from recsmith.representations.keeping import kept_in
from recsmith.representations.sizing import varied
from recsmith.spec import CapacityError, Dhe, FormatError, InputError, RowFormat, Table, UnknownNameError
from recsmith.training import metrics
from recsmith.training.recipe import Recipe, untrained

WHOLE = (
    "converted:dhe@fp32",
    "converted:mixed_dimension@fp32",
    "dhe@fp32",
    "mixed_dimension@fp32",
    "quotient_remainder@fp32",
)


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


def weight(model, choice, dtype="fp32"):
    return kept_in(hold(model, None, choice), dtype).nbytes


def test_each_representation_is_as_large_as_fits():
    model = untrained("m", {"a": 400_000, "b": 300_000, "c": 50}, (), 3, Recipe())
    tenth = model.nbytes // 10
    found = {kind: fitting(model, tenth, kind) for kind in KINDS}
    assert all(weight(model, choice) <= tenth for choice in found.values())
    assert found["mixed_dimension"].features["a"].width == 1
    assert found["quotient_remainder"].features["a"].collisions == 12
    assert found["dhe"].features == within(model, tenth).features
    assert set(found["dhe_everywhere"].features) == {"a", "b", "c"}
    assert found["dhe_everywhere"].features["a"] == found["dhe"].features["a"]
    small = model.nbytes // 60
    assert fitting(model, small, "dhe").features["a"].k == 224
    with pytest.raises(CapacityError, match=f"wanted at most {small:,}"):
        fitting(model, small, "mixed_dimension")
    for kind in KINDS:
        with pytest.raises(CapacityError, match="wanted at most 3,000"):
            fitting(model, 3000, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["bf16", "int8", "int4"])
def test_fewer_bits_leave_room_for_more(kind, dtype):
    model = untrained("m", {"a": 400_000, "b": 300_000, "c": 50}, (), 3, Recipe())
    tenth = model.nbytes // 10
    whole, small = fitting(model, tenth, kind), fitting(model, tenth, kind, dtype)
    assert weight(model, small, dtype) <= tenth
    assert len(small.features) <= len(whole.features)
    assert weight(model, small) >= weight(model, whole)


def test_few_rows_are_stored_rather_than_computed():
    model = untrained("m", {"many": 400_000, "few": 50}, (), 3, Recipe())
    held = hold(model, None, varied(model))
    small = kept_in(held, "int8")
    assert small.table("few").computed is None and small.table("few").format.dtype == "int8"
    assert small.table("few").nbytes == 50 * RowFormat("int8").stride_bytes(16)
    assert small.table("many") == replace(
        held.table("many"), computed=replace(held.table("many").computed, dtype="int8")
    )


DATA = "synthetic:criteo_kaggle,samples=3000,cap=60000,seed=2"
RECIPE = Recipe(dim=16, bottom=(16,), top=(16,), passes=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    pytest.importorskip("torch")
    from recsmith import api

    folder = tmp_path_factory.mktemp("compress") / "whole"
    return folder, api.train(DATA, folder, recipe=RECIPE, threads=1, resamples=0)


def compress(whole, target, part, **settings):
    from recsmith import api

    return api.compress(
        whole[0], int(whole[1].table_bytes * part), DATA, target, **{"resamples": 20, "steps": 5, **settings}
    )


def test_compress_tries_what_fits_and_writes_the_best(whole, tmp_path):
    from recsmith import api

    done = compress(whole, tmp_path / "small", 0.45, candidates=("bf16", "int8", "int4", *WHOLE), steps=20)
    tried = {each.name: each for each in done.candidates}
    assert tried["bf16"].quality is None and f"{done.memory_bytes:,} allowed" in tried["bf16"].why_not
    fitting = {name: each for name, each in tried.items() if each.quality}
    assert set(fitting) == {*tried} - {"bf16"} == {"int8", "int4", *WHOLE}
    assert all(each.nbytes <= done.memory_bytes and each.served_bytes >= each.nbytes for each in fitting.values())
    decided = {name: each.deciding_logloss for name, each in fitting.items()}
    assert decided[done.chosen] == min(decided.values())
    assert abs(fitting["int8"].quality.logloss.value - done.original.logloss.value) < 1e-3
    model, _ = api.load(tmp_path / "small" / "model")
    assert model.nbytes <= done.memory_bytes and json.loads(done.to_json())["chosen"] == done.chosen


def test_rows_and_decoders_in_fewer_bits_together_bring_a_model_far_down(whole, tmp_path):
    from recsmith import api

    usual = [name for name in CANDIDATES if "everywhere" not in name]
    done = compress(whole, tmp_path / "small", 0.2, candidates=usual)
    tried = {each.name: each for each in done.candidates}
    assert tried["int8"].quality is None and tried["dhe@int8"].quality is not None
    plain = api.load(whole[0] / "model")[0]
    single = hold(plain, None, fitting(plain, done.memory_bytes - dense_bytes(plain), "dhe"))
    made = tmp_path / "small" / "dhe"
    (held,) = (api.load(each)[0] for each in made.glob("*/int8/model"))
    assert sum(t.flops for t in held.tables) > sum(t.flops for t in single.tables)
    assert {t.computed.dtype if isinstance(t.computed, Dhe) else t.format.dtype for t in held.tables} == {"int8"}
    assert {t.computed is None for t in held.tables} == {True, False}
    assert held.nbytes < tried["dhe@int8"].nbytes <= done.memory_bytes


def test_quality_is_told_by_samples_that_did_not_choose(whole, tmp_path):
    from recsmith import api

    done = compress(whole, tmp_path / "small", 0.45, candidates=("int8", "int4"))
    scores, held_back = np.load(whole[0] / "held_back.npy"), whole[1].held_back
    assert done.deciding == held_back // 2 and done.original.samples == held_back - done.deciding
    labels = np.asarray(Store.open(whole[0] / "samples").labels[whole[1].samples + done.deciding :])
    assert done.original == metrics.quality(scores[done.deciding :], labels, resamples=20)
    with pytest.raises(InputError, match="too few to decide"):
        compress(whole, tmp_path / "none", 0.45, deciding=1.0)
    served = api.evaluate(tmp_path / "small" / "model", DATA, resamples=0)
    assert served.table_bytes <= done.memory_bytes


def test_what_was_trained_elsewhere_is_kept_in_the_most_bits_that_fit(whole, tmp_path):
    from recsmith import api

    settings = {"recipe": RECIPE, "threads": 1, "resamples": 0}
    run = api.train(DATA, tmp_path / "dhe", varied, **settings)
    room = (weigh(kept_in(api.load(tmp_path / "dhe" / "model")[0], "int8")) + 20_000) / whole[1].table_bytes
    done = compress(whole, tmp_path / "small", room, candidates=(), trained=[tmp_path / "dhe"])
    assert [each.name.rpartition("@")[2] for each in done.candidates] == ["fp32", "bf16", "int8"]
    *_, small = done.candidates
    assert done.chosen == small.name and small.quality is not None and small.nbytes < run.table_bytes / 3
    again = compress(whole, tmp_path / "small", room, candidates=(), trained=[tmp_path / "dhe"])
    assert again == done
    api.train(DATA.replace("seed=2", "seed=3"), tmp_path / "other", **settings)
    with pytest.raises(FormatError, match="other samples"):
        compress(whole, tmp_path / "x", room, candidates=(), trained=[tmp_path / "other"])
    with pytest.raises(FormatError, match="no finished training"):
        compress(whole, tmp_path / "x", room, candidates=(), trained=[tmp_path])


def test_what_cannot_be_tried_is_named(whole, tmp_path):
    with pytest.raises(UnknownNameError, match="no candidate 'dhe@int7'"):
        compress(whole, tmp_path, 0.5, candidates=("dhe@int7",))
    with pytest.raises(CapacityError, match="the MLPs alone weigh"):
        compress(whole, tmp_path, 0.0005)
    done = compress(whole, tmp_path / "small", 0.5, candidates=("int8", "dhe@int8"))
    assert done.chosen == "int8" and "rows of int8 fit" in done.candidates[1].why_not


def test_other_settings_are_refused_until_restarted(whole, tmp_path):
    asked = {"candidates": ("converted:dhe@fp32",), "resamples": 0}
    first = compress(whole, tmp_path, 0.45, **asked, steps=2)
    with pytest.raises(FormatError, match=r"another steps.*--restart"):
        compress(whole, tmp_path, 0.45, **asked, steps=3)
    assert compress(whole, tmp_path, 0.45, **asked, steps=2) == first
    other = compress(whole, tmp_path, 0.45, **asked, steps=3, restart=True)
    assert other.candidates[0].nbytes == first.candidates[0].nbytes and other != first


def test_the_command(whole, tmp_path, capsys):
    from recsmith.cli.app import main

    words = ["compress", str(whole[0]), "--memory", "900kB", "--data", DATA, "-o", str(tmp_path / "small")]
    tries = ["--candidates", "int8,quotient_remainder@int8,converted:mixed_dimension@int8"]
    with pytest.raises(SystemExit) as stopped:
        main([*words, *tries])
    told = capsys.readouterr()
    assert not stopped.value.code and "quotient_remainder@int8, update 22: loss" in told.err
    assert "chosen" in told.out and "allowed" in told.out
    with pytest.raises(SystemExit):
        main([*words, *tries, "--json", "--quiet"])
    done = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in done["candidates"]] == tries[1].split(",") and done["chosen"] in tries[1]
