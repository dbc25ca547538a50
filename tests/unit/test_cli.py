"""The command line end to end on a tiny model: what it prints, writes and exits with."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from command_line import imported, quietly, recsmith
from recsmith.cli.app import app
from recsmith.spec import Plan

torch = pytest.importorskip("torch")
pytest.importorskip("pyarrow")

GOLDEN = Path(__file__).parents[1] / "golden" / "cli.txt"
ROWS = (50, 3, 1000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint, rows to score, and the artifact made from the checkpoint."""
    from recsmith.testing.torch_dlrm import TorchDlrm, tiny

    at = tmp_path_factory.mktemp("cli")
    ids = imported(at, tiny(ROWS), "tiny.pt", "--no-self-terms")
    torch.save({"state_dict": TorchDlrm(tiny((50, 3))).state_dict()}, at / "foreign.pt")
    np.savez(at / "bad.npz", **{**ids, "C2": ids["C2"] + 3}, dense=np.zeros((300, 4), np.float32))
    quietly("plan", at / "model", "-o", at / "plan.json", "--planner", "symmetric", "--batch", "64", "-q")
    return at


def test_import_and_inspect_count_tables_and_bytes(capsys, folder):
    code, out, _ = recsmith(capsys, "inspect", folder / "model", "--json")
    seen = json.loads(out)
    assert code == 0
    assert [feature["rows"] for feature in seen["features"]] == list(ROWS)
    assert seen["table_bytes"] == sum(ROWS) * 8 * 4 and seen["dense_inputs"] == 4
    code, out, _ = recsmith(capsys, "inspect", folder / "model")
    assert code == 0 and "1,000" in out and "C3" in out


def test_id_maps_are_set_at_import_and_then_hold(capsys, folder):
    words = ("--no-self-terms", "--id-map", "modulo", "--out-of-range", "clamp", "-q", "--json")
    assert recsmith(capsys, "import", folder / "tiny.pt", "-o", folder / "modulo", *words)[0] == 0
    seen = json.loads(recsmith(capsys, "inspect", folder / "modulo", "--json")[1])
    assert {(feature["ids"], feature["out_of_range"]) for feature in seen["features"]} == {("modulo", "clamp")}
    words = ("predict", folder / "modulo", "-i", folder / "bad.npz", "--json", "-q")
    made = recsmith(capsys, "plan", folder / "modulo", "-o", folder / "modulo.json", "--planner", "symmetric", "-q")
    assert made[0] == 0
    assert recsmith(capsys, *words, "--plan", folder / "modulo.json")[0] == 0


def test_a_plan_is_a_file_that_explain_shows(capsys, folder):
    made = Plan.open(folder / "plan.json")
    assert made.planner == "symmetric" and made.objective.workloads[0].batch == 64
    code, out, _ = recsmith(capsys, "explain", folder / "plan.json")
    assert code == 0 and all(f"C{i}" in out for i in (1, 2, 3)) and "symmetric" in out
    code, out, _ = recsmith(capsys, "explain", folder / "plan.json", "--json")
    assert code == 0 and Plan.from_json(out) == made
    code, out, _ = recsmith(capsys, "explain", folder / "plan.json", "--model", folder / "model", "--json")
    served = json.loads(out)["batches"][0]["features"]
    assert code == 0 and [feature["rows"] for feature in served] == list(ROWS)
    assert all(sum(feature["core_seconds"].values()) > 0 and feature["why"] for feature in served)
    code, out, _ = recsmith(capsys, "explain", folder / "plan.json", "--model", folder / "model")
    assert code == 0 and "modelled" in out and "next best way" in out


def test_predict_writes_what_verify_finds_equal(capsys, folder):
    target = folder / "preds.npz"
    words = (folder / "model", "--plan", folder / "plan.json", "-i", folder / "rows.npz")
    code, out, _ = recsmith(capsys, "predict", *words, "-o", target, "--json")
    summary = json.loads(out)
    assert code == 0 and summary["samples"] == 300
    values = np.load(target)["prediction"]
    assert values.shape == (300,) and summary["mean"] == pytest.approx(float(values.mean()), rel=1e-5)
    code, out, _ = recsmith(capsys, "verify", *words, "--against", folder / "tiny.pt")
    assert code == 0 and "equal: 300 rows" in out


def test_verify_reads_safetensors(capsys, folder):
    from safetensors.torch import save_file

    save_file(torch.load(folder / "tiny.pt", weights_only=True)["state_dict"], folder / "tiny.safetensors")
    words = ("verify", folder / "model", "-i", folder / "rows.npz", "--against", folder / "tiny.safetensors", "-q")
    code, out, _ = recsmith(capsys, *words, "--json")
    assert code == 0 and json.loads(out)["passed"]


def test_verify_against_another_checkpoint_exits_with_8(capsys, folder):
    other = torch.load(folder / "tiny.pt", weights_only=True)
    other["state_dict"]["emb_l.0.weight"] += 0.05
    torch.save(other, folder / "other.pt")
    served = ("--plan", folder / "plan.json")
    words = ("verify", folder / "model", *served, "-i", folder / "rows.npz", "--against", folder / "other.pt", "-q")
    code, out, _ = recsmith(capsys, *words, "--json")
    assert code == 8 and json.loads(out)["passed"] is False


def test_without_a_profile_predict_says_that_speeds_are_modelled(capsys, folder):
    code, _, err = recsmith(capsys, "predict", folder / "model", "-i", folder / "rows.npz")
    assert code == 0 and "modelled speeds" in err
    code, _, err = recsmith(capsys, "predict", folder / "model", "-i", folder / "rows.npz", "--quiet")
    assert code == 0 and err == ""


def test_a_profile_that_a_plan_has_no_use_for_is_said(capsys, folder):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({f"C{i}": [0, 1] for i in (1, 2, 3)}), folder / "ids.parquet")
    words = ("--plan", folder / "plan.json", "-i", folder / "rows.npz", "--profile", folder / "ids.parquet")
    code, _, err = recsmith(capsys, "predict", folder / "model", *words)
    assert code == 0 and "the profile was not used" in err


def test_cores_are_named_one_by_one_only_where_they_are_few(capsys, folder):
    plan = folder / "gpu.json"
    assert recsmith(capsys, "plan", folder / "model", "-p", "h200", "--batch", "64", "-o", plan, "-q")[0] == 0
    code, out, _ = recsmith(capsys, "explain", plan)
    assert code == 0 and out.count("sm") < 40
    cores = Plan.open(plan).predicted[0].core_seconds
    said = " ".join(out.split())
    assert f"{len(cores)} cores busy for" in said and f"on average, {max(cores, key=cores.get)} for" in said
    assert "cores busy for" not in recsmith(capsys, "explain", folder / "plan.json")[1]


@pytest.mark.parametrize(
    ("words", "code", "operation"),
    [
        (("inspect", "nowhere"), 3, "import"),
        (("import", "rows.npz", "-o", "x"), 3, "import"),
        (("explain", "nowhere.json"), 3, "read"),
        (("explain", "model/model.json"), 3, "read"),
        (("explain", "tiny.pt"), 3, "read"),
        (("report", "model", "--plan", "plan.json", "--bench", "tiny.pt"), 3, "report"),
        (("plan", "model", "-o", "p.json", "--memory", "1KB"), 6, "plan"),
        (("plan", "model", "-o", "p.json", "--planner", "wishful"), 2, "planner"),
        (("plan", "model", "-o", "p.json", "--strategies", "l7"), 2, "strategy"),
        (("plan", "model", "-o", "p.json", "--precision", "tf32"), 7, "plan"),
        (("plan", "model", "-o", "p.json", "--precision", "fp8", "-p", "h200"), 7, "plan"),
        (("plan", "model", "-o", "p.json", "--platform", "abacus"), 2, "platform"),
        (("plan", "model", "-o", "p.json", "--batch", "many"), 3, "plan"),
        (("verify", "model", "-i", "rows.npz", "--against", "model"), 3, "verify"),
        (("verify", "model", "-i", "rows.npz", "--against", "rows.npz"), 3, "import"),
        (("verify", "model", "-i", "rows.npz", "--against", "foreign.pt"), 3, "verify"),
        (("predict", "model", "--plan", "plan.json", "-i", "bad.npz"), 4, "lookup"),
        (("predict", "model", "--plan", "plan.json", "-i", "rows.npz", "-o", "preds.docx"), 3, "write"),
        (("predict", "model", "--plan", "plan.json", "-i", "rows.npz", "--isa", "mmx"), 7, "kernels"),
    ],
)
def test_expected_errors_are_one_line_and_have_a_code(capsys, folder, monkeypatch, words, code, operation):
    monkeypatch.chdir(folder)
    quiet = () if words[0] in ("inspect", "explain") else ("--quiet",)
    found, out, err = recsmith(capsys, *words, *quiet)
    assert found == code and out == "" and err.startswith("[") and err.count("\n") == 1
    found, out, err = recsmith(capsys, *words, "--json")
    error = json.loads(out)["error"]
    assert found == code and error["operation"] == operation and error["problem"]


def test_report_times_tables_and_cores_beside_their_predictions(capsys, folder):
    page = folder / "report.html"
    words = ("report", folder / "model", "--plan", folder / "plan.json", "-o", page, "--json", "-q")
    code, out, _ = recsmith(capsys, *words)
    seen = json.loads(out)
    assert code == 0 and page.read_text().startswith("<!doctype html>")
    assert [table["name"] for table in seen["tables"]] == ["C1", "C2", "C3"]
    for line in (*seen["tables"], *seen["cores"]):
        assert line["predicted"]["seconds"] > 0 and line["measured"]["seconds"] > 0
        assert line["predicted"]["source"] == "modelled" and line["measured"]["runs"] >= 15
    code, out, _ = recsmith(capsys, *words, "--no-measure")
    assert code == 0 and all(table.get("measured") is None for table in json.loads(out)["tables"])


def test_report_tells_of_computed_tables_too_but_for_their_times(capsys, folder):
    words = ("--to", "quotient_remainder", "--features", "C3", "-q")
    assert recsmith(capsys, "convert", folder / "model", "-o", folder / "computed", *words)[0] == 0
    assert recsmith(capsys, "plan", folder / "computed", "-o", folder / "computed.json", "--batch", "64", "-q")[0] == 0
    words = ("report", folder / "computed", "--plan", folder / "computed.json", "-o", folder / "c.html", "--json", "-q")
    code, out, _ = recsmith(capsys, *words)
    assert code == 0
    assert [bool(line["measured"]) for line in json.loads(out)["tables"]] == [True, True, False]
    code, _, err = recsmith(capsys, "report", folder / "model", *words[2:6], "-q")
    assert code == 5 and "made for model" in err


def test_report_refuses_what_is_no_benchmark_record(capsys, folder):
    words = ("report", folder / "model", "--plan", folder / "plan.json", "-o", folder / "x.html", "--no-measure")
    code, _, err = recsmith(capsys, *words, "--bench", folder / "plan.json")
    assert code == 3 and "no benchmark record" in err


def test_wrong_usage_exits_with_2(capsys):
    assert recsmith(capsys, "import", "x.pt", "-o", "x", "--rows", "many")[0] == 2
    assert recsmith(capsys, "plan", "model", "--pooling", "-1")[0] == 2
    assert recsmith(capsys, "plan")[0] == 2
    assert recsmith(capsys, "fly")[0] == 2


def test_the_version_can_be_asked_for(capsys):
    import recsmith as package

    assert recsmith(capsys, "--version")[:2] == (0, package.__version__ + "\n")


def test_doctor_is_data_too(capsys):
    code, out, _ = recsmith(capsys, "doctor", "--json")
    findings = json.loads(out)["findings"]
    assert {"recsmith", "native", "processor", "memory"} <= {finding["area"] for finding in findings}
    assert code == (1 if any(finding["status"] == "problem" for finding in findings) else 0)


def commands():
    """Every command with its options, as click knows them."""
    import typer

    found = {}

    def walk(name, command):
        for child_name, child in getattr(command, "commands", {}).items():
            walk(f"{name} {child_name}", child)
        if not hasattr(command, "commands"):
            found[name] = command

    walk("recsmith", typer.main.get_command(app))
    return found


def test_flags_are_those_of_the_golden_file():
    """`python tests/unit/test_cli.py` writes the file anew; a change in it is a change for users."""
    assert listing() == GOLDEN.read_text()


def listing():
    lines = []
    for name, command in sorted(commands().items()):
        options = [" ".join((*p.opts, *p.secondary_opts)) for p in command.params]
        lines.append("\n  ".join((name, *options)))
    return "\n".join(lines) + "\n"


def test_every_command_has_json_help_and_an_example():
    for name, command in commands().items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert "--json" in options, name
        assert command.help and command.epilog.startswith(f"Example: {name} ".rstrip()), name
        assert all(p.help for p in command.params), name


def test_help_is_fast_and_lists_exit_codes():
    """Seconds of the processor, not of the clock: other work on the machine does not count."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run([sys.executable, "-m", "recsmith.cli", "--help"], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
    assert "Exit codes" in run.stdout


if __name__ == "__main__":
    GOLDEN.write_text(listing())
