"""Samples on disk, column by column, read through a memory map: data may be larger than memory, and reading can
start at any sample.

    samples.json                   `StoredSamples`, written last: a folder without it is not a store
    labels.bin, dense.bin          float32
    <n>.ids.bin                    row numbers of feature n, int32 or int64
    <n>.ends.bin                   where each sample's bag ends, int64; only for features whose bags vary
    <n>.vocabulary                 one raw id a line, for features whose ids are not row numbers

Legend: S samples, L ids, D dense inputs, V vocabulary entries.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Batch, InputError, Jagged, Progress, Record

from .readers import BadRows, Rows, Tally
from .readers.judge import finite, leave_out
from .sources import Source

FACTS_FILE = "samples.json"
# The vocabulary's entry for row 0, which stands for every id that training never saw: a number that no log holds.
UNSEEN = np.iinfo(np.int64).min
_CHUNK = 1 << 20


class StoredSamples(Record, frozen=True):
    """What a store holds.

    Attributes:
        rows: of each feature's table.
        bags: features that hold a bag, not one id.
        vocabularies: features whose raw ids were numbered.
        training: samples [0, training) are for training, the rest is held back.
        holdout, modulo, policy: as `store` was asked, the last for bad rows.
        bad_rows: samples left out because they could not be read, or had no label that is 0 or 1.
        unseen: feature to ids of held-back samples that training never saw.
    """

    source: str
    fingerprint: str
    holdout: float
    modulo: int
    policy: BadRows
    features: tuple[str, ...]
    rows: tuple[int, ...]
    bags: tuple[str, ...]
    vocabularies: tuple[str, ...]
    dense_inputs: int
    samples: int
    training: int
    bad_rows: int
    bad_labels: int
    first_bad: str
    unseen: dict[str, int]


@dataclass(slots=True)
class Store:
    """An open store."""

    folder: Path
    facts: StoredSamples
    labels: NDArray[np.float32]
    dense: NDArray[np.float32]
    ids: list[NDArray[np.integer]]
    ends: list[NDArray[np.int64] | None] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path) -> Store:
        """The store in `folder`, mapped.

        Raises:
            FormatError: the folder is not a store.
        """
        facts = StoredSamples.open(folder / FACTS_FILE)
        ids = [_map(folder / f"{n}.ids.bin", _dtype(rows)) for n, rows in enumerate(facts.rows)]
        ends = [_map(folder / f"{n}.ends.bin", np.int64) if f in facts.bags else None for n, f in _number(facts)]
        dense_SD = _map(folder / "dense.bin", np.float32).reshape(-1, facts.dense_inputs)
        return cls(folder, facts, _map(folder / "labels.bin", np.float32), dense_SD, ids, ends)

    def batch(self, at_S: NDArray[np.int64]) -> tuple[Batch, NDArray[np.float32]]:
        """The samples at these positions, and their labels."""
        values, lengths = [], []
        for ids, ends in zip(self.ids, self.ends, strict=True):
            if ends is None:
                values.append(ids[at_S].astype(np.int64))
                lengths.append(np.ones(len(at_S), np.int64))
                continue
            stops_S = ends[at_S]
            starts_S = np.where(at_S > 0, ends[np.maximum(at_S - 1, 0)], 0)
            lengths_S = stops_S - starts_S
            within_L = np.arange(int(lengths_S.sum())) - np.repeat(np.cumsum(lengths_S) - lengths_S, lengths_S)
            values.append(ids[np.repeat(starts_S, lengths_S) + within_L].astype(np.int64))
            lengths.append(lengths_S)
        offsets = None
        if self.facts.bags:
            offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
        return Batch(Jagged(np.concatenate(values), offsets, len(at_S)), self.dense[at_S]), self.labels[at_S]

    def vocabulary(self, feature: str) -> Path:
        """The file with the raw ids of a feature on `facts.vocabularies`, one a line; line i (from 0) is row i."""
        return self.folder / f"{self.facts.features.index(feature)}.vocabulary"


def store(
    source: Source,
    folder: Path,
    *,
    holdout: float = 0.1,
    modulo: int = 0,
    tally: Tally | None = None,
    progress: Progress | None = None,
) -> Store:
    """`source` as a store in `folder`; one that is there already and of the same samples is opened.

    Args:
        holdout: the part of the samples, the last ones, that is held back.
        modulo: > 0: a row is the raw id modulo this, as DLRM's `max-ind-range`; 0: ids of the training part are
            numbered from 1 in ascending order, and row 0 stands for all others.
        tally: what to do with bad rows, bad labels among them.

    Raises:
        InputError: a row is bad and bad rows are errors, or there are no samples.
    """
    kept = tally or Tally()
    wanted = f"{source.fingerprint}/{holdout}/{modulo}/{kept.bad_rows}"
    if (folder / FACTS_FILE).is_file() and (found := Store.open(folder)).facts.fingerprint == wanted:
        return found
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    samples, bags, bad_labels = _write_raw(source, folder, kept, progress)
    training = samples - round(samples * holdout)
    rows, vocabularies, unseen = [], [], {}
    for n, feature in enumerate(source.features):
        if progress:
            progress("numbering ids", n, len(source.features))
        known = source.rows.get(feature, 0)
        count, missed = _number_ids(folder, n, training, known, modulo, bag=feature in bags)
        rows.append(count)
        if not known and not modulo:
            vocabularies.append(feature)
        if missed:
            unseen[feature] = missed
    facts = StoredSamples(
        source.text,
        wanted,
        holdout,
        modulo,
        kept.bad_rows,
        source.features,
        tuple(rows),
        bags,
        tuple(vocabularies),
        source.dense_inputs,
        samples,
        training,
        kept.skipped,
        bad_labels,
        kept.first_bad,
        unseen,
    )
    facts.save(folder / FACTS_FILE)
    return Store.open(folder)


def with_labels(rows: Rows, before: int, tally: Tally) -> tuple[Rows, int]:
    """The samples whose label is 0 or 1 and whose dense inputs are numbers, and how many labels were neither.

    Args:
        before: samples that came before, to say where a bad one is.

    Raises:
        InputError: there are no labels, or a sample is bad and bad rows are errors.
    """
    if rows.labels is None:
        raise InputError("data", "the samples have no labels", "Training and evaluation need the clicks.")
    labelled_S = np.isin(rows.labels, (0, 1))
    found = {"a label that is neither 0 nor 1": labelled_S, "a number that is none": finite(rows)}
    return leave_out(rows, found, "sample", before, tally), int((~labelled_S).sum())


def _write_raw(
    source: Source, folder: Path, tally: Tally, progress: Progress | None
) -> tuple[int, tuple[str, ...], int]:
    """Writes what the source yields; returns samples, features with bags, and how many labels were bad."""
    samples = seen = bad_labels = 0
    bags: tuple[str, ...] = ()
    ends = [0] * len(source.features)
    for block in source.read(tally):
        rows, bad = with_labels(block, seen, tally)
        seen += len(block)
        bad_labels += bad
        if not len(rows):
            continue
        if not samples:
            bags = tuple(name for name in source.features if rows.columns[name].offsets is not None)
        assert rows.labels is not None and rows.dense is not None
        _append(folder / "labels.bin", rows.labels)
        _append(folder / "dense.bin", rows.dense)
        for n, name in enumerate(source.features):
            column = rows.columns[name]
            _append(folder / f"{n}.raw.bin", column.values.astype(np.int64))
            if column.offsets is not None:
                _append(folder / f"{n}.ends.bin", column.offsets[1:] + ends[n])
                ends[n] += len(column.values)
        samples += len(rows)
        if progress:
            progress("reading samples", samples, 0)
    if not samples:
        raise InputError("data", f"'{source.text}' holds no labelled samples", "Check the file.")
    return samples, bags, bad_labels


def _number_ids(folder: Path, n: int, training: int, known: int, modulo: int, *, bag: bool) -> tuple[int, int]:
    """Turns raw ids into row numbers; returns the rows of the table and the held-back ids that training never saw."""
    raw_L = _map(folder / f"{n}.raw.bin", np.int64)
    if known or modulo:
        rows = known or modulo
        for part_L in _chunks(raw_L):
            _append(folder / f"{n}.ids.bin", (part_L % rows if modulo else part_L).astype(_dtype(rows)))
        (folder / f"{n}.raw.bin").unlink()
        return rows, 0
    trained = int(_map(folder / f"{n}.ends.bin", np.int64)[training - 1]) if bag else training
    known_V = np.zeros(0, np.int64)
    for part_L in _chunks(raw_L[:trained]):
        known_V = np.union1d(known_V, part_L)
    (folder / f"{n}.vocabulary").write_text("\n".join(map(str, [UNSEEN, *known_V.tolist()])) + "\n")
    missed = 0
    for part_L in _chunks(raw_L):
        at_L = np.minimum(np.searchsorted(known_V, part_L), max(0, len(known_V) - 1))
        found_L = known_V[at_L] == part_L if len(known_V) else np.zeros(len(part_L), bool)
        missed += int((~found_L).sum())
        _append(folder / f"{n}.ids.bin", np.where(found_L, at_L + 1, 0).astype(_dtype(len(known_V) + 1)))
    (folder / f"{n}.raw.bin").unlink()
    return len(known_V) + 1, missed


def _chunks(values_L: NDArray[np.int64]) -> Sequence[NDArray[np.int64]]:
    return [values_L[start : start + _CHUNK] for start in range(0, len(values_L), _CHUNK)]


def _dtype(rows: int) -> type[np.int32] | type[np.int64]:
    return np.int32 if rows < 2**31 else np.int64


def _number(facts: StoredSamples) -> list[tuple[int, str]]:
    return list(enumerate(facts.features))


def _append(path: Path, values: NDArray[np.generic]) -> None:
    with path.open("ab") as file:
        np.ascontiguousarray(values).tofile(file)


def _map(path: Path, dtype: type[Any]) -> NDArray[Any]:
    if not path.exists() or not path.stat().st_size:
        return np.zeros(0, dtype)
    return np.memmap(path, dtype, "r")
