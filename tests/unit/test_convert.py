"""Models held in another way without training: exact where it can be, and honest about the rest."""

import json

import numpy as np
import pytest
from msgspec.structs import replace

import recsmith
from recsmith import api
from recsmith.cli.app import main
from recsmith.data import traces
from recsmith.executor.finished import finished_rows
from recsmith.importers import artifact
from recsmith.reference import computed_rows, encode
from recsmith.representations import build, hold
from recsmith.representations.closest import closest
from recsmith.representations.sizing import varied
from recsmith.spec import (
    Batch,
    Dhe,
    FormatError,
    Hybrid,
    Jagged,
    MixedDimension,
    PlanError,
    QuotientRemainder,
    Rows,
    Table,
    Weights,
    Workload,
)
from recsmith.testing.joined import joined_case

torch = pytest.importorskip("torch")

SMALL = Dhe(k=32, hidden=(24,), last_activation="none")
WIDE = Dhe(k=64, hidden=(96,), last_activation="none")


@pytest.fixture(autouse=True)
def one_thread():
    """Threads of such small products wait for each other most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def saved(folder, choice="table", kind="dot"):
    """A model of two tables and its weights, in `folder`."""
    plain = joined_case(3, features=2, one_hot=True, kind=kind).case.model
    tables = tuple(replace(table, rows=rows) for table, rows in zip(plain.tables, (300, 70), strict=True))
    model = hold(replace(plain, tables=tables), None, choice)
    draw = np.random.default_rng(5)
    stored, parameters, dense = {}, {}, {}
    for at, table in enumerate(model.tables):
        arrays = build(table, at)
        if table.computed is None:
            stored[table.name] = encode(draw.normal(size=(table.rows, table.dim)), table.format)
        else:
            parameters |= {f"{table.name}.{name}": array for name, array in arrays.items()}
    for part in (model.bottom, model.top):
        dense[f"{part.prefix}.0.weight"] = draw.normal(size=part.widths[::-1]).astype(np.float32) / 4
        dense[f"{part.prefix}.0.bias"] = draw.normal(size=part.widths[1]).astype(np.float32)
    artifact.save(model, Weights(stored, dense, parameters=parameters), folder)
    return folder


def predictions(folder):
    model, weights = api.load(folder)
    machine = recsmith.platform("cpu")
    plan = recsmith.plan(model, machine, Workload.uniform(model, 60))
    draw = np.random.default_rng(1)
    ids = Jagged(np.concatenate([draw.integers(0, 300, 60), draw.integers(0, 70, 60)]), None, 60)
    with recsmith.compile(model, plan, weights, platform=machine) as engine:
        return engine.run(Batch(ids, draw.normal(size=(60, 2)).astype(np.float32))).values


@pytest.mark.parametrize("choice", [SMALL, Hybrid(dhe=SMALL)])
@pytest.mark.parametrize("kind", ["dot", "cat"])
def test_a_dhe_becomes_the_table_that_it_computes(tmp_path, choice, kind):
    before = saved(tmp_path / "before", choice, kind)
    done = api.convert(before, tmp_path / "after", "table")
    assert {each.how for each in done.tables} == {"finished"} and {each.error for each in done.tables} == {0.0}
    assert all(table.computed is None for table in api.load(tmp_path / "after")[0].tables)
    np.testing.assert_allclose(predictions(tmp_path / "after"), predictions(before), atol=3e-7)


def test_a_distilled_dhe_learns_the_rows_and_says_how_well(tmp_path):
    before = saved(tmp_path / "before")
    errors = []
    for steps in (1, 200):
        done = api.convert(before, tmp_path / f"{steps}", WIDE, features=["f1"], steps=steps)
        (only,) = done.tables
        assert (only.table, only.how, only.rows) == ("t1", "distilled", 70)
        model, weights = api.load(tmp_path / f"{steps}")
        rows = api.load(before)[1].tables["t1"].astype(np.float64)
        found = finished_rows(model.table("t1"), weights)
        own = np.sqrt(((found - rows) ** 2).mean() / ((rows - rows.mean(axis=0)) ** 2).mean())
        assert only.error == pytest.approx(own, rel=1e-5)
        errors.append(only.error)
    assert errors[1] < 0.6 * errors[0] and errors[0] > 0.9
    assert model.table("t0").computed is None


def test_distilling_is_repeatable(tmp_path):
    before = saved(tmp_path / "before")
    for name in "ab":
        api.convert(before, tmp_path / name, SMALL, steps=20, seed=3)
    one, other = (api.load(tmp_path / name)[1].parameters for name in "ab")
    assert one and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", ["dot", "cat"])
def test_a_dhe_put_beside_a_table_changes_no_prediction(tmp_path, kind):
    before = saved(tmp_path / "before", kind=kind)
    done = api.convert(before, tmp_path / "after", Hybrid(dhe=SMALL), steps=5)
    assert [each.table for each in done.tables] == ["t0+dhe", "t1+dhe"]
    np.testing.assert_allclose(predictions(tmp_path / "after"), predictions(before), atol=1e-6)


def test_rows_in_fewer_bits_and_the_error_of_that(tmp_path):
    before = saved(tmp_path / "before")
    errors = {}
    for dtype in ("bf16", "int8", "int4"):
        done = api.convert(before, tmp_path / dtype, Rows(dtype))
        errors[dtype] = max(each.error for each in done.tables)
        assert done.nbytes == api.load(tmp_path / dtype)[0].nbytes < done.bytes_before
    assert 0 < errors["bf16"] < 0.003 < errors["int4"] < 0.1 and errors["int8"] < 0.01


@pytest.mark.parametrize("choice", [SMALL, Hybrid(dhe=SMALL)])
def test_decoders_in_fewer_bits_and_the_error_of_that(tmp_path, choice):
    before = saved(tmp_path / "before", choice)
    errors = {}
    for dtype in ("bf16", "int8", "int4"):
        done = api.convert(before, tmp_path / dtype, None, decoders=dtype)
        errors[dtype] = max(each.error for each in done.tables)
        assert {each.how for each in done.tables} == {"rounded"} and len(done.tables) == 2
        model, weights = api.load(tmp_path / dtype)
        assert done.nbytes == model.nbytes < done.bytes_before
        for table in model.tables:
            if table.computed is not None:
                wanted = computed_rows(table, weights.of(table.name), np.arange(table.rows))
                np.testing.assert_allclose(finished_rows(table, weights), wanted, atol=2e-6)
        assert np.isfinite(predictions(tmp_path / dtype)).all()
    assert 0 < errors["bf16"] < 0.02 < errors["int4"] < 0.5 and errors["int8"] < 0.03


def test_decoders_are_rounded_after_they_are_taught(tmp_path):
    before = saved(tmp_path / "before")
    both = api.convert(before, tmp_path / "both", SMALL, decoders="int8", steps=20)
    assert [each.how for each in both.tables] == ["distilled", "distilled", "rounded", "rounded"]
    direct = api.convert(before, tmp_path / "direct", replace(SMALL, dtype="int8"), steps=20)
    one, other = (api.load(tmp_path / name)[1].parameters for name in ("both", "direct"))
    assert all(np.array_equal(one[name], other[name]) for name in one) and both.nbytes == direct.nbytes
    with pytest.raises(FormatError, match="is a DHE"):
        api.convert(before, tmp_path / "none", None, decoders="int8")


def test_sizes_by_table_are_for_the_features_asked_for(tmp_path):
    before = saved(tmp_path / "before")
    done = api.convert(before, tmp_path / "one", varied, features=["f1"], steps=1)
    assert [each.table for each in done.tables] == ["t1"]
    assert api.load(tmp_path / "one")[0].table("t0").computed is None


def test_a_profile_makes_a_dhe_near_where_it_is_asked(tmp_path):
    before = saved(tmp_path / "before")
    model, _ = api.load(before)
    hot = np.tile(np.arange(10), 30)
    traces.write(tmp_path / "ids.parquet", model, [Jagged(np.concatenate([hot, hot]), None, 300)])
    errors = [
        api.convert(before, tmp_path / name, SMALL, features=["f0"], steps=100, profile=profile).tables[0].error
        for name, profile in (("all", None), ("hot", tmp_path / "ids.parquet"))
    ]
    assert errors[1] < 0.8 * errors[0]


def test_what_cannot_be_converted_is_said(tmp_path):
    hybrid = saved(tmp_path / "hybrid", Hybrid(dhe=SMALL))
    with pytest.raises(FormatError, match="feature 'f0' brings two vectors"):
        api.convert(hybrid, tmp_path / "out", SMALL)
    with pytest.raises(PlanError, match="no feature 'f9'"):
        api.convert(hybrid, tmp_path / "out", "int8", features=["f9"])


def test_nothing_to_do_keeps_every_array(tmp_path):
    before = saved(tmp_path / "before", SMALL)
    settings = api.load(before)[0].tables[0].computed
    done = api.convert(before, tmp_path / "after", settings)
    assert done.tables == () and done.nbytes == done.bytes_before
    np.testing.assert_array_equal(predictions(tmp_path / "after"), predictions(before))


def test_mixed_dimension_is_the_best_projection():
    draw = np.random.default_rng(0)
    rank_two = (draw.normal(size=(50, 2)) @ draw.normal(size=(2, 6))).astype(np.float32)
    for width, bound in ((2, 1e-5), (8, 1e-5), (1, None)):
        found = closest(Table("t", 50, 6, computed=MixedDimension(width)), rank_two)
        rest = np.linalg.norm(found["narrow"] @ found["projection"].T - rank_two)
        best = np.linalg.svd(rank_two)[1][width:]
        assert rest == pytest.approx(np.linalg.norm(best), abs=1e-4) if bound is None else rest < bound * 50
        assert found["narrow"].shape == (50, width) and found["projection"].shape == (6, width)


@pytest.mark.parametrize("combine", ["multiply", "add"])
@pytest.mark.parametrize("rows", [12, 14, 3])
def test_quotients_and_remainders_that_exist_are_found(combine, rows):
    draw = np.random.default_rng(0)
    quotient, remainder = draw.normal(size=(4, 5)), draw.normal(size=(4, 5))
    ids = np.arange(rows)
    combined = np.multiply if combine == "multiply" else np.add
    wanted = combined(quotient[ids // 4], remainder[ids % 4]).astype(np.float32)
    found = closest(Table("t", rows, 5, computed=QuotientRemainder(4, combine)), wanted)
    np.testing.assert_allclose(combined(found["quotient"][ids // 4], found["remainder"][ids % 4]), wanted, atol=1e-5)


def test_the_command(tmp_path, capsys):
    before = saved(tmp_path / "before")
    settings = tmp_path / "dhe.json"
    settings.write_text('{"type": "dhe", "k": 16, "hidden": [8], "last_activation": "none"}')
    words = [str(before), "--to", str(settings), "-o", str(tmp_path / "out"), "--steps", "3"]
    main_of(["convert", *words, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [each["how"] for each in told["tables"]] == ["distilled", "distilled"]
    main_of(["convert", str(tmp_path / "out"), "--to", "table", "-o", str(tmp_path / "finished")])
    assert "finished" in capsys.readouterr().out


def main_of(words):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert not stopped.value.code
