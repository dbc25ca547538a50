"""`make demo`: train a small model, then do what a user would, command by command, ending in a report."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Run every step; the first that fails ends the demo with its exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, help="MovieLens-100K folder or Criteo TSV; a generator when not given")
    options.add_argument("--out", type=Path, default=Path("demo"))
    options.add_argument("--seconds", type=float, default=60.0, help="of training")
    chosen = options.parse_args()
    began = time.monotonic()
    out: Path = chosen.out
    data = ["--data", str(chosen.data)] if chosen.data else []
    run([sys.executable, str(HERE / "train.py"), "--out", str(out), "--seconds", str(chosen.seconds), *data])
    for words in steps(out, (out / "features.txt").read_text()):
        recsmith(*words)
    print(f"\nThe whole demo took {(time.monotonic() - began) / 60:.1f} minutes.")
    print(f"Open {(out / 'report.html').resolve()}")


def steps(out: Path, features: str) -> list[tuple[str, ...]]:
    """The commands, in a user's order."""
    model, machine, plan = f"{out}/model", f"{out}/machine.json", f"{out}/plan.json"
    rows, checkpoint, preds = f"{out}/samples.parquet", f"{out}/dlrm.pt", f"{out}/predictions.parquet"
    lookup, latency, page = f"{out}/lookup.jsonl", f"{out}/model.jsonl", f"{out}/report.html"
    case = ("--workload", "criteo_kaggle", "--max-bytes", "256MiB", "--threads", "2", "-p", machine)
    for stale in (lookup, latency):
        Path(stale).unlink(missing_ok=True)
    return [
        ("import", checkpoint, "--features", features, "-o", model),
        ("inspect", model),
        ("measure", "--budget", "30s", "-o", machine),
        ("plan", model, "-p", machine, "--workload", f"trace:{rows}", "--batch", "128,2048", "-o", plan),
        ("explain", plan, "--model", model, "-p", machine),
        ("predict", model, "--plan", plan, "-p", machine, "--input", rows, "-o", preds),
        ("verify", model, "--plan", plan, "-p", machine, "--input", rows, "--against", checkpoint),
        ("bench", "lookup", *case, "--batch", "2048", "--against", "torch,fbgemm,numba", "--results", lookup),
        (
            "bench",
            "model",
            *case,
            "--batch",
            "1,16,128,1024",
            "--against",
            "torch",
            "--seconds",
            "0.5",
            "--results",
            latency,
        ),
        ("report", model, "--plan", plan, "-p", machine, "--bench", lookup, "--bench", latency, "-o", page),
    ]


def recsmith(*words: str) -> None:
    """Print a command as a user would type it, and run it."""
    print(f"\n$ recsmith {shlex.join(words)}", flush=True)
    began = time.monotonic()
    run([sys.executable, "-m", "recsmith.cli", *words])
    print(f"  ({time.monotonic() - began:.1f} s)", flush=True)


def run(command: list[str]) -> None:
    """Run it; end with its exit code when it fails."""
    code = subprocess.run(command).returncode
    if code:
        raise SystemExit(code)


if __name__ == "__main__":
    main()
