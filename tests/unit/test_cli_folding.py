"""Folding on the command line: plans that fold are explained, reported and served, and predict as PyTorch does."""

import json

import numpy as np
import pytest

from command_line import imported, quietly, recsmith
from recsmith.calibration import folding
from recsmith.spec import Feature, Interaction, Mlp, Model, Plan, Table

torch = pytest.importorskip("torch")

ROWS = (50, 3, 1000, 400)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The checkpoint of a model that concatenates, rows to score, and the artifact."""
    at = tmp_path_factory.mktemp("folding")
    tables = tuple(Table(f"t{i}", rows, 8) for i, rows in enumerate(ROWS))
    features = tuple(Feature(table.name, table.name) for table in tables)
    bottom, top = Mlp((4, 8), ("relu",), "bottom"), Mlp((40, 24, 6, 1), ("relu", "relu", "sigmoid"), "top")
    model = Model("wide", tables, features, 4, bottom, Interaction("cat"), top)
    imported(at, model, "wide.pt", "--interaction", "cat", "-q")
    with pytest.MonkeyPatch.context() as patch:
        # What is faster is a matter of the machine; here it is what folding does that is looked at.
        patch.setattr(folding, "trial", lambda *_: folding.Trial(2e-3, 1e-3, faster=True))
        words = ("--fold", "10MB", "--rehearse", "--batch", "64", "-q")
        quietly("plan", at / "model", "-o", at / "plan.json", *words)
    return at


@pytest.fixture(scope="module")
def dot_folder(tmp_path_factory):
    """The same of a model that multiplies."""
    from recsmith.testing.torch_dlrm import tiny

    at = tmp_path_factory.mktemp("dot")
    imported(at, tiny((50, 3)), "tiny.pt", "--no-self-terms", "-q")
    return at


def test_the_plan_says_what_is_folded_and_what_that_takes(capsys, folder):
    made = Plan.open(folder / "plan.json")
    rows = {f"C{i + 1}": count for i, count in enumerate(ROWS)}
    assert made.fold.features == ("C1", "C2", "C4") and made.fold.nbytes == sum(ROWS[i] for i in (0, 1, 3)) * 24 * 4
    assert any("3 of 4 features are folded" in note and "timed here" in note for note in made.notes)
    code, out, _ = recsmith(capsys, "explain", folder / "plan.json")
    assert code == 0 and "Folded into the first top layer" in out
    code, out, _ = recsmith(capsys, "explain", folder / "plan.json", "-m", folder / "model")
    assert code == 0 and "Folded into the first top layer" in out and "folded rows" in out
    code, out, _ = recsmith(capsys, "explain", folder / "plan.json", "-m", folder / "model", "--json")
    explained = json.loads(out)
    served = [*explained["batches"][-1]["features"], *explained["folded"]["batches"][-1]["features"]]
    assert code == 0 and {each["feature"]: each["rows"] for each in served} == rows
    assert {each["dim"] for each in served} == {8, 24}


def test_it_predicts_what_pytorch_predicts(capsys, folder):
    words = (folder / "model", "--plan", folder / "plan.json", "-i", folder / "rows.npz")
    code, out, _ = recsmith(capsys, "verify", *words, "--against", folder / "wide.pt", "--json")
    found = json.loads(out)
    assert code == 0 and found["passed"] and found["samples"] == 300 and 0 < found["worst"] < 1e-5 * found["largest"]
    code, out, _ = recsmith(capsys, "predict", *words, "-o", folder / "preds.npz", "--json")
    assert code == 0 and json.loads(out)["samples"] == 300
    plain = recsmith(capsys, "predict", folder / "model", "-i", folder / "rows.npz", "-o", folder / "plain.npz", "-q")
    assert plain[0] == 0
    found, wanted = (np.load(folder / name)["prediction"] for name in ("preds.npz", "plain.npz"))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_the_report_shows_folded_rows_as_tables(capsys, folder):
    words = ("report", folder / "model", "--plan", folder / "plan.json", "-o", folder / "report.html", "--json", "-q")
    code, out, _ = recsmith(capsys, *words)
    seen = json.loads(out)
    names = [table["name"] for table in seen["tables"]]
    assert code == 0 and names == ["C3", "C1, folded", "C2, folded", "C4, folded"]
    for line in (*seen["tables"], *seen["cores"]):
        assert line["predicted"]["seconds"] > 0 and line["measured"]["seconds"] > 0
    parts = {segment["table"] for core in seen["cores"] for segment in core["segments"]}
    assert set(names) <= parts


def test_inspect_says_what_folding_would_cost(capsys, folder, dot_folder):
    code, out, _ = recsmith(capsys, "inspect", folder / "model", "--json")
    assert code == 0 and json.loads(out)["folded_bytes"] == {"C1": 50 * 96, "C2": 3 * 96, "C4": 400 * 96}
    code, out, _ = recsmith(capsys, "inspect", folder / "model")
    assert code == 0 and "288 B for the smallest feature" in out
    code, out, _ = recsmith(capsys, "inspect", dot_folder / "model", "--json")
    assert code == 0 and json.loads(out)["folded_bytes"] == {}


def test_nothing_is_folded_unless_it_is_asked_for(capsys, folder):
    words = ("plan", folder / "model", "-o", folder / "plain.json", "--batch", "64", "--json", "-q")
    code, out, _ = recsmith(capsys, *words)
    assert code == 0 and json.loads(out)["fold"] is None


def test_too_few_bytes_are_refused_and_say_how_many_it_takes(capsys, folder):
    words = ("plan", folder / "model", "-o", folder / "no.json", "--batch", "64", "-q")
    code, _, err = recsmith(capsys, *words, "--fold", "100B")
    assert code == 6 and "100 bytes were allowed" in err and "needs 288 when folded" in err
    code, _, err = recsmith(capsys, *words, "--fold", "10MB", "--memory", "46600B")
    assert code == 6 and "104 bytes were allowed" in err and not (folder / "no.json").exists()


def test_dot_products_are_no_sums(capsys, dot_folder):
    words = ("plan", dot_folder / "model", "-o", dot_folder / "no.json", "--fold", "1MB", "-q")
    code, _, err = recsmith(capsys, *words)
    assert code == 5 and "joins vectors by dot" in err and "without --fold" in err
