"""How good is each representation on MovieLens-100K, and what does it weigh?

Rating of 4 or 5 is a click; the samples are in time order: [0, 80 %) train, [80 %, 90 %) choose the number of passes,
the last 10 % are the test. Five seeds a representation, one recipe for all. Resumable: run it again and it goes on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace
from where import results

from recsmith.bench import records
from recsmith.data import sources
from recsmith.data.store import Store, store
from recsmith.representations import build, hold
from recsmith.representations.sizing import varied
from recsmith.spec import Dhe, Hybrid, MixedDimension, Model, QuotientRemainder
from recsmith.training import loop, metrics
from recsmith.training.module import TrainedDlrm, start
from recsmith.training.recipe import RECIPES, untrained

SMALL = Dhe(k=128, hidden=(64,), last_activation="none")
HELD = {
    "table": lambda model: "table",
    "dhe, k 128-64": lambda model: SMALL,
    "dhe, sized by table": varied,
    "select": lambda model: varied(model, features=("user", "item")),
    "hybrid, k 128-64": lambda model: Hybrid(dhe=SMALL),
    "hybrid, sized by table": lambda model: varied(model, beside=True),
    "quotient-remainder, 4": lambda model: QuotientRemainder(4),
    "mixed dimension, 4": lambda model: MixedDimension(4),
}
SEEDS, PASSES = range(5), 4
RECIPE = replace(RECIPES["small"], rate=0.01, passes=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of ml-100k")
    parser.add_argument("--folder", type=Path, default=Path("build/quality_movielens"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    kept = store(sources.parse(f"movielens:{asked.data}"), asked.folder / "samples", holdout=0.2)
    runs = {name: [once(kept, name, seed, asked.folder) for seed in SEEDS] for name in HELD}
    record = summary(kept, runs)
    target = results("quality_movielens")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("a") as file:
        file.write(json.dumps(record) + "\n")
    print(table(record))


def once(kept: Store, name: str, seed: int, folder: Path) -> dict[str, object]:
    """One training: bytes, the passes that the validation part chose, and the test scores behind the figures."""
    place = folder / f"{name.replace(' ', '_')}-{seed}.npz"
    if not place.exists():
        nbytes, passes, scores = trained(kept, name, seed)
        np.savez(place, nbytes=nbytes, passes=passes, scores=scores)
        print(f"{name}, seed {seed}: {passes} passes", flush=True)
    found = np.load(place)
    return {"bytes": int(found["nbytes"]), "passes": int(found["passes"]), "scores": found["scores"]}


def trained(kept: Store, name: str, seed: int) -> tuple[int, int, np.ndarray]:
    """Bytes, passes and test scores [S] of the pass with the least logloss on the validation part."""
    facts = kept.facts
    how = replace(RECIPE, seed=seed)
    rows = dict(zip(facts.features, facts.rows, strict=True))
    model: Model = untrained("movielens", rows, facts.vocabularies, facts.dense_inputs, how)
    model = hold(model, None, HELD[name](model))
    arrays = {each.name: build(each, 1000 * seed + at) for at, each in enumerate(model.tables)}
    module = TrainedDlrm(model, start(model, seed, arrays))
    optimizers = loop.optimizers_of(module, how)
    middle = (facts.training + facts.samples) // 2
    best = (np.inf, 0, np.zeros(0))
    for number in range(PASSES):
        module.train()
        loop.one_pass(module, optimizers, kept, replace(how, seed=100 * seed + number))
        scores = loop.predict(module, kept, facts.training, facts.samples)
        labels = np.asarray(kept.labels[facts.training : middle])
        loss = float(metrics.losses(scores[: len(labels)], labels).mean())
        if loss < best[0]:
            best = (loss, number + 1, scores[len(labels) :])
    return model.nbytes, best[1], best[2]


def summary(kept: Store, runs: dict[str, list[dict[str, object]]]) -> dict[str, object]:
    """Figures over seeds, and the paired difference to the table with samples and seeds resampled together."""
    middle = (kept.facts.training + kept.facts.samples) // 2
    labels = np.asarray(kept.labels[middle:])
    plain = np.array([run["scores"] for run in runs["table"]])
    found = {}
    for name, own in runs.items():
        each = [metrics.quality(run["scores"], labels, resamples=0) for run in own]
        found[name] = {
            "bytes": own[0]["bytes"],
            "passes": [run["passes"] for run in own],
            "auc": spread([one.auc.value for one in each]),
            "logloss": spread([one.logloss.value for one in each]),
            "accuracy": spread([one.accuracy.value for one in each]),
            "auc_minus_table": difference(np.array([run["scores"] for run in own]), plain, labels),
        }
    facts = {"training": kept.facts.training, "validation": middle - kept.facts.training, "test": len(labels)}
    return {"commit": records.commit(), "samples": facts, "seeds": len(SEEDS), "representations": found}


def spread(values: list[float]) -> dict[str, float]:
    """Mean over seeds and a 95 % t interval of that mean."""
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))
    t = 2.776  # Student's t, four degrees of freedom
    return {"mean": mean, "low": mean - t * error, "high": mean + t * error}


def difference(ours: np.ndarray, theirs: np.ndarray, labels: np.ndarray, resamples: int = 200) -> dict[str, float]:
    """Mean AUC of ours less that of theirs; seeds and test samples drawn anew for the interval."""
    draw = np.random.default_rng(0)

    def of(scores: np.ndarray, at: np.ndarray, seeds: np.ndarray) -> float:
        return float(np.mean([metrics.auc(scores[seed][at], labels[at]) for seed in seeds]))

    everything, seeds = np.arange(len(labels)), np.arange(len(ours))
    drawn = []
    for _ in range(resamples):
        at, mine, other = (draw.integers(0, len(each), len(each)) for each in (everything, seeds, seeds))
        drawn.append(of(ours, at, mine) - of(theirs, at, other))
    low, high = np.percentile(drawn, [2.5, 97.5])
    value = of(ours, everything, seeds) - of(theirs, everything, seeds)
    return {"value": value, "low": float(low), "high": float(high)}


def table(record: dict[str, object]) -> str:
    """The record as Markdown."""
    lines = ["| representation | bytes | AUC | AUC less table's | logloss | accuracy |", "|---|---:|---|---|---|---|"]
    for name, own in record["representations"].items():
        cells = [f"{own[key]['mean']:.4f} ({own[key]['low']:.4f} to {own[key]['high']:.4f})" for key in FIGURES]
        gap = own["auc_minus_table"]
        cells.insert(1, f"{gap['value']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f})")
        lines.append(f"| {name} | {own['bytes']:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


FIGURES = ("auc", "logloss", "accuracy")

if __name__ == "__main__":
    main()
