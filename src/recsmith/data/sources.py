"""What training reads, as users write it: `criteo:PATH`, `avazu:PATH`, `movielens:PATH`, `synthetic:WORKLOAD,...`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from recsmith.spec import FormatError, Registry

from . import shapes
from .readers import READERS, Rows, Tally, avazu, criteo, movielens
from .teacher import Teacher

BLOCK = 1 << 14
SOURCES = Registry(
    "source",
    {
        "criteo": "recsmith.data.sources:criteo_log",
        "avazu": "recsmith.data.sources:avazu_log",
        "movielens": "recsmith.data.sources:ratings",
        "synthetic": "recsmith.data.sources:clicks",
    },
)
_FORMS = (
    "Write criteo:PATH, avazu:PATH, movielens:FOLDER or synthetic:WORKLOAD,samples=N,cap=ROWS,seed=N "
    "(such as synthetic:criteo_kaggle,samples=100000,cap=1000)."
)


@dataclass(frozen=True, slots=True)
class Source:
    """Labelled samples, and what is known of them before they are read.

    Attributes:
        text: as the user wrote it.
        features: names, in the order in which a model takes them.
        rows: feature to the rows its table needs, where ids are row numbers already; empty where they are not.
        read: the samples in time order, block by block; it counts, and judges bad rows by, the tally.
        fingerprint: changes when the samples do.
    """

    text: str
    kind: Literal["criteo", "avazu", "movielens", "synthetic"]
    features: tuple[str, ...]
    dense_inputs: int
    rows: dict[str, int]
    read: Callable[[Tally], Iterator[Rows]]
    fingerprint: str


def parse(text: str) -> Source:
    """The source that `text` names.

    Raises:
        FormatError: `text` is no source, or there is nothing at its path.
        UnknownNameError: there is no source or workload of that name.
    """
    kind, colon, argument = text.partition(":")
    if not colon or not argument:
        raise FormatError("data", f"'{text}' is no data source", _FORMS)
    source: Source = SOURCES[kind](text, argument)
    return source


def criteo_log(text: str, argument: str) -> Source:
    """A Criteo log: `.parquet`, or text as `train.txt` and `day_0.gz`."""
    path = _existing(argument)
    reader = READERS["criteo_parquet" if path.suffix in (".parquet", ".pq") else "criteo_tsv"]
    names = tuple(f"C{i + 1}" for i in range(criteo.CATEGORIES))

    def read(tally: Tally) -> Iterator[Rows]:
        return reader(path, names, criteo.COUNTS, BLOCK, tally)

    return Source(text, "criteo", names, criteo.COUNTS, {}, read, _fingerprint(path))


def avazu_log(text: str, argument: str) -> Source:
    """Avazu's `train.csv`, plain or gzipped."""
    path = _existing(argument)

    def read(tally: Tally) -> Iterator[Rows]:
        return avazu.rows(path, avazu.FEATURES, avazu.DENSE_INPUTS, BLOCK, tally)

    return Source(text, "avazu", avazu.FEATURES, avazu.DENSE_INPUTS, {}, read, _fingerprint(path))


def ratings(text: str, argument: str) -> Source:
    """MovieLens-100K, ordered by time; equal times stay in file order."""
    path = _existing(argument)
    ratings_file = path / "u.data" if path.is_dir() else path
    rows = movielens.cardinalities(ratings_file.parent)
    names = tuple(rows)

    def read(tally: Tally) -> Iterator[Rows]:
        everything = Rows.join(list(movielens.rows(path, names, movielens.DENSE_INPUTS, BLOCK, tally)))
        assert everything.dense is not None
        yield everything.take(np.argsort(everything.dense[:, 2], kind="stable"))

    return Source(text, "movielens", names, movielens.DENSE_INPUTS, rows, read, _fingerprint(ratings_file))


def clicks(text: str, argument: str) -> Source:
    """Clicks drawn by a `Teacher` with a workload's tables, each cut to `cap` rows."""
    drawn = teacher(argument)
    sizes = dict(zip(drawn.names, drawn.rows, strict=True))
    return Source(text, "synthetic", drawn.names, drawn.dense_inputs, sizes, lambda _: drawn.blocks(), drawn.digest())


def teacher(argument: str) -> Teacher:
    """The law that `WORKLOAD,samples=N,cap=ROWS,seed=N` names.

    Raises:
        FormatError: a setting is none of these.
        UnknownNameError: there is no such workload.
    """
    name, *settings = argument.split(",")
    numbers = {"samples": 100_000, "cap": 0, "seed": 0}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if key not in numbers or not equals or not value.isdigit():
            raise FormatError("data", f"'{setting}' in '{argument}' is no setting", _FORMS)
        numbers[key] = int(value)
    features = shapes.describe(name).features
    rows = tuple(min(feature.rows, numbers["cap"] or feature.rows) for feature in features)
    return Teacher(tuple(feature.name for feature in features), rows, numbers["samples"], numbers["seed"])


def _existing(argument: str) -> Path:
    path = Path(argument)
    if not path.exists():
        raise FormatError("data", f"there is no '{path}'", "Check the path.")
    return path


def _fingerprint(path: Path) -> str:
    facts = path.stat()
    return f"{path.name}/{facts.st_size}/{facts.st_mtime_ns}"
