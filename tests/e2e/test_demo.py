"""The demo's training and commands, all but the timing ones, which only take long."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import recsmith

pytest.importorskip("torch")
pytest.importorskip("pyarrow")

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "examples" / "demo"
DATA = Path(os.environ.get("RECSMITH_DATA", ROOT.parent / "shared" / "data"))
SOURCES = {
    "generator": None,
    "movielens": DATA / "movielens-100k",
    "criteo": DATA / "criteo-1k" / "train.txt",
}


def run(*words):
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_every_command_of_the_demo_works_on(name, tmp_path, monkeypatch):
    source = SOURCES[name]
    if source is not None and not source.exists():
        pytest.skip(f"{source} is not there; RECSMITH_DATA says where data sets are")
    data = [] if source is None else ["--data", source]
    said = run(DEMO / "train.py", "--out", tmp_path, "--seconds", 4, *data)
    assert 0.5 < float(said.partition("AUC ")[2].split()[0]) <= 1.0
    monkeypatch.syspath_prepend(str(DEMO))
    from run import steps

    recsmith.platform("cpu").save(tmp_path / "machine.json")
    seen = {}
    for words in steps(tmp_path, (tmp_path / "features.txt").read_text()):
        if words[0] in ("measure", "bench"):
            continue
        words = [word for word in words if not str(word).endswith(".jsonl") and word != "--bench"]
        seen[words[0]] = run("-m", "recsmith.cli", *words)
    assert set(seen) == {"import", "inspect", "plan", "explain", "predict", "verify", "report"}
    assert seen["verify"].startswith("equal: ")
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert (tmp_path / "predictions.parquet").exists()
