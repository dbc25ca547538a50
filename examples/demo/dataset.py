"""What the demo trains on: MovieLens-100K, a Criteo log, or clicks drawn at random with Criteo's table sizes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from recsmith.data import readers, shapes, synthetic
from recsmith.data.readers import movielens
from recsmith.spec import Access, Batch, Feature, IdMap, Interaction, Mlp, Model, Table, Workload, Zipf

DIM = 16
COUNTS = 13  # dense inputs of a Criteo log
SHRINK = 8  # the generator's large tables have this many times fewer rows than Criteo-Kaggle's
SMALL_ROWS = 1000
SEED = 7
BATCH = 2048  # of the generator
FILE_BATCH = 256
MAX_FILE_BATCHES = 4000  # a minute's training sees no more of a large log

Labelled = tuple[Batch, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples to train on and samples kept back, in batches.

    Attributes:
        model: the architecture to train; its weights are yet to be found.
        train: goes round and round.
    """

    title: str
    model: Model
    train: list[Labelled]
    held_back: list[Labelled]


def load(source: Path | None) -> Dataset:
    """The data set at `source`, or drawn at random when None."""
    if source is None:
        return _random()
    if readers.guess(source) == "movielens":
        folder = source if source.is_dir() else source.parent
        model = _dlrm("movielens", movielens.cardinalities(folder), movielens.DENSE_INPUTS)
        return _split("MovieLens-100K", model, source, model)
    rows = {feature.name: _shrunk(feature.rows) for feature in shapes.describe("criteo_kaggle").features}
    model = _dlrm("criteo", rows, COUNTS)
    hashed = tuple(msgspec.structs.replace(f, id_map=IdMap("modulo")) for f in model.features)
    return _split("Criteo", model, source, msgspec.structs.replace(model, features=hashed))


def _dlrm(name: str, rows: dict[str, int], dense_inputs: int) -> Model:
    vectors = len(rows) + 1
    bottom = (dense_inputs, 64, 32, DIM)
    top = (DIM + vectors * (vectors - 1) // 2, 128, 64, 1)
    return Model(
        name=name,
        tables=tuple(Table(feature, count, DIM) for feature, count in rows.items()),
        features=tuple(Feature(feature, feature) for feature in rows),
        dense_inputs=dense_inputs,
        bottom=Mlp(bottom, ("relu",) * 3, "bottom"),
        interaction=Interaction("dot"),
        top=Mlp(top, ("relu", "relu", "sigmoid"), "top"),
    )


def _shrunk(rows: int) -> int:
    return rows if rows <= SMALL_ROWS else max(SMALL_ROWS, rows // SHRINK)


def _split(title: str, model: Model, source: Path, reading: Model) -> Dataset:
    """The last tenth of the file is kept back; `reading` is the model with the file's own id maps."""
    found = islice(readers.labelled(source, reading, FILE_BATCH), MAX_FILE_BATCHES)
    everything = [(batch, labels) for batch, labels in found if labels is not None]
    if len(everything) < 2:
        raise SystemExit(f"'{source}' has fewer than {FILE_BATCH + 1} labelled samples: too few to train and to check")
    kept = max(1, len(everything) // 10)
    return Dataset(title, model, everything[:-kept], everything[-kept:])


def _random(count: int = 192, kept: int = 8) -> Dataset:
    """Zipf ids over Criteo-Kaggle's 26 tables, shrunk; each id pulls the click its own way, and so do the counts."""
    rows = {feature.name: _shrunk(feature.rows) for feature in shapes.describe("criteo_kaggle").features}
    model = _dlrm("criteo_like", rows, COUNTS)
    workload = Workload("demo", BATCH, tuple(Access(name, 1.0, Zipf(1.05)) for name in rows))
    rng = np.random.default_rng(SEED)
    pull_D = rng.normal(0, 0.3, COUNTS).astype(np.float32)
    samples = []
    for ids in synthetic.batches(model, workload, count + kept, SEED):
        dense_BD = rng.gamma(1.5, 1.0, (BATCH, COUNTS)).astype(np.float32)
        ids_FB = ids.values.reshape(len(rows), BATCH)
        score_B = _pulls(ids_FB).sum(axis=0) * 0.35 + (dense_BD - 1.5) @ pull_D - 1.0
        clicks_B = rng.random(BATCH) < 1 / (1 + np.exp(-score_B))
        samples.append((Batch(ids, dense_BD), clicks_B.astype(np.float32)))
    return Dataset("clicks drawn at random", model, samples[:count], samples[count:])


def _pulls(ids_FB: NDArray[np.int64]) -> NDArray[np.float64]:
    """A number in [-1, 1] for each id, the same whenever it is asked: the truth that training has to find."""
    feature_F1 = np.arange(ids_FB.shape[0], dtype=np.uint64)[:, None]
    mixed = (ids_FB.astype(np.uint64) + feature_F1 * np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(31)
    return (mixed * np.uint64(0x94D049BB133111EB) >> np.uint64(11)) / 2**52 - 1.0
