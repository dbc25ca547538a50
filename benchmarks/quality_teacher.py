"""Does hybrid beat table, and does DHE equal it in a fifth of its bytes, on clicks drawn from a known law?

The law, its seed, the split and the goals stand in quality_teacher.json. Resumable: run it again and it goes on.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
from where import results

from recsmith import api
from recsmith.bench import records
from recsmith.data import sources
from recsmith.data.store import Store
from recsmith.representations.sizing import varied
from recsmith.training import metrics
from recsmith.training.metrics import Figure
from recsmith.training.recipe import Recipe
from recsmith.training.report import Report

SETTINGS = json.loads(Path(__file__).with_suffix(".json").read_text())
HELD = {
    "table": lambda model: "table",
    "select": lambda model: varied(model, smaller=True),
    "dhe": varied,
    "hybrid": lambda model: varied(model, beside=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/quality_teacher"), help="checkpoints, 3 GB")
    parser.add_argument("--representations", nargs="+", default=SETTINGS["representations"])
    parser.add_argument("--seconds", type=float, default=math.inf, help="of training in this call, then stop")
    parser.add_argument("--samples", type=int, default=SETTINGS["split"]["test"][1], help="fewer: a scaled-down trial")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--seed", type=int, default=SETTINGS["recipe"]["seeds"][0], help="another: how far seeds differ"
    )
    parser.add_argument("--rate", type=float, default=SETTINGS["recipe"]["rate"])
    parser.add_argument("--optimizer", choices=["sgd", "adagrad"], default=SETTINGS["recipe"]["optimizer"])
    parser.add_argument("--table-rate", type=float, help="of stored rows; the rate of all when not given")
    parser.add_argument("--decoder-rate", type=float, help="of DHE decoders; the rate of all when not given")
    parser.add_argument("--decoder-start", type=float, default=1.0, help="factor of the decoders' first last layer")
    parser.add_argument("--decay", type=float, default=0.0, help="last part of the pass in which rates fall to zero")
    parser.add_argument("--average", type=float, default=0.0, help="last part of the pass that is averaged")
    asked = parser.parse_args()
    done = {}
    for name in asked.representations:
        done[name] = train(name, asked)
        if done[name].quality is None:
            print(f"{name}: {done[name].steps:,} of {done[name].total_steps:,} updates; run again to go on")
            return
        print(f"{name}: {done[name].table_bytes:,} bytes, {done[name].quality}")
    record = compare(done, asked)
    target = results("quality_teacher")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("a") as file:
        file.write(json.dumps(record) + "\n")
    print(json.dumps(record["compared"], indent=1))


def train(name: str, asked: argparse.Namespace) -> api.TrainSummary:
    """The model held as `name`, trained as far as the time allows."""
    how = SETTINGS["recipe"]
    recipe = Recipe(
        dim=how["dim"],
        bottom=tuple(how["bottom"][1:-1]),
        top=tuple(how["top"][:-1]),
        interaction=how["interaction"],
        optimizer=asked.optimizer,
        rate=asked.rate,
        table_rate=asked.table_rate,
        decoder_rate=asked.decoder_rate,
        decoder_start=asked.decoder_start,
        decay=asked.decay,
        average=asked.average,
        batch=how["batch"],
        passes=how["passes"],
        seed=asked.seed,
    )
    teacher = SETTINGS["teacher"]
    test = SETTINGS["split"]["test"]
    return api.train(
        f"synthetic:{teacher['features']},samples={asked.samples},cap={teacher['row_cap']},seed={teacher['seed']}",
        place(name, asked),
        HELD[name],
        recipe=recipe,
        holdout=(test[1] - test[0]) / test[1],
        samples=asked.folder / "samples",
        threads=asked.threads,
        seconds=asked.seconds,
        codes_bytes=5 << 30,
        told=lambda report: tell(name, report),
    )


def place(name: str, asked: argparse.Namespace) -> Path:
    """Where a run is kept."""
    seed = "" if asked.seed == SETTINGS["recipe"]["seeds"][0] else f"-{asked.seed}"
    other = "".join(f"-{part}={value}" for part, value in changed(asked).items())
    return asked.folder / f"{name}{seed}{other}"


def changed(asked: argparse.Namespace) -> dict[str, float | str]:
    """Where the recipe is not the one that was written down before any result."""
    usual = Recipe()
    names = ("table_rate", "decoder_rate", "decoder_start", "decay", "average")
    written = {name: getattr(usual, name) for name in names}
    written |= {name: SETTINGS["recipe"][name] for name in ("rate", "optimizer")}
    return {part: getattr(asked, part) for part in written if getattr(asked, part) != written[part]}


def tell(name: str, report: Report) -> None:
    """One line a report."""
    print(f"{name} {report.step:,}: logloss {report.logloss:.4f}, accuracy {report.accuracy:.4f}, AUC {report.auc:.4f}")


def compare(done: dict[str, api.TrainSummary], asked: argparse.Namespace) -> dict[str, object]:
    """Figures of each, and paired differences to the table."""
    store = Store.open(asked.folder / "samples")
    first = store.facts.training
    labels = np.asarray(store.labels[first:])
    scores = {name: np.load(place(name, asked) / "held_back.npy") for name in done}
    compared = {
        f"{name} - table": {
            "accuracy": plain(metrics.paired(scores[name], scores["table"], labels, metrics.correct)),
            "logloss": plain(metrics.paired(scores[name], scores["table"], labels, metrics.losses)),
            "bytes_ratio": done[name].table_bytes / done["table"].table_bytes,
        }
        for name in done
        if name != "table" and "table" in done
    }
    law = sources.teacher(store.facts.source.partition(":")[2])
    return {
        "commit": records.commit(),
        "settings": SETTINGS,
        "scaled_down": asked.samples != SETTINGS["split"]["test"][1],
        "samples": store.facts.samples,
        "training": first,
        "best_possible_logloss": law.best_logloss(first, store.facts.samples),
        "seed": asked.seed,
        "after_the_fact": changed(asked),
        "quality": {name: without_folder(summary) for name, summary in done.items()},
        "compared": compared,
    }


def without_folder(summary: api.TrainSummary) -> dict[str, object]:
    """What training did, wherever."""
    return {key: value for key, value in json.loads(summary.to_json()).items() if key != "folder"}


def plain(figure: Figure) -> dict[str, float]:
    """The figure as JSON."""
    return {"value": figure.value, "low": figure.low, "high": figure.high}


if __name__ == "__main__":
    main()
