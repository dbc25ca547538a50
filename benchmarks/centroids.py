"""What do nearest centroids cost in quality where they take the place of a DHE's decoder?"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from where import results, say

from recsmith import api
from recsmith.bench import records
from recsmith.data.hot import most_asked
from recsmith.data.store import Store
from recsmith.platforms import load
from recsmith.spec import Dhe, Record, Serving
from recsmith.training.metrics import Quality


class ServedQuality(Record, frozen=True):
    """The quality of one way to serve all tables.

    Attributes:
        hits: part of all ids whose rows are exact.
    """

    served: str
    hits: float
    quality: Quality


class CentroidRecord(Record, frozen=True):
    """A run: each way on the same samples, those for training included."""

    run: records.Run
    data: str
    dhe: Dhe
    cases: tuple[ServedQuality, ...]
    kind: str = "centroids"
    version: int = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="as `recsmith train --data` takes it, such as movielens:PATH")
    parser.add_argument("--folder", type=Path, required=True, help="of the trained model; trained when it is not there")
    parser.add_argument("--hot", type=float, default=0.1, help="part of each table's rows that are kept, exact")
    parser.add_argument("--centroids", nargs="+", type=int, default=[1, 16, 64, 256])
    asked = parser.parse_args()
    dhe = Dhe(k=128, hidden=(64,), last_activation="none")
    api.train(asked.data, asked.folder, dhe, threads=1, progress=say)
    model, _ = api.load(asked.folder / "model")
    seen = profile(Store.open(asked.folder / "samples"), model)
    sizes = {table.name: round(asked.hot * table.rows) for table in model.tables}
    ranked = {name: most_asked(seen[name], model.table(name).rows, model.table(name).rows) for name in sizes}
    ways = {"exact": [Serving(name, "cache", size) for name, size in sizes.items()]}
    for count in asked.centroids:
        ways[f"{count} centroids"] = [Serving(name, "centroids", size, centroids=count) for name, size in sizes.items()]
    hits = float(np.mean([np.isin(seen[name], ranked[name][:size]).mean() for name, size in sizes.items()]))
    cases = []
    for name, serving in ways.items():
        found = api.evaluate(asked.folder, asked.data, serving=serving, profile=ranked).quality
        cases.append(ServedQuality(name, hits, found))
        figures = f"accuracy {found.accuracy.value:.4f}  AUC {found.auc.value:.4f}  logloss {found.logloss.value:.4f}"
        print(f"{name:14} {figures}")
    run = records.Run(records.commit(), records.now(), load("cpu").machine, 1)
    records.append(results("centroids"), CentroidRecord(run, asked.data.partition(":")[0], dhe, tuple(cases)))


def profile(kept: Store, model) -> dict:
    """Table name to the ids that samples for training ask for; each table is read by one feature."""
    tables = {feature.name: feature.table for feature in model.features}
    count = kept.facts.training
    found = {}
    for name, ids, ends in zip(kept.facts.features, kept.ids, kept.ends, strict=True):
        found[tables[name]] = np.asarray(ids[: int(ends[count - 1]) if ends is not None else count], np.int64)
    return found


if __name__ == "__main__":
    main()
