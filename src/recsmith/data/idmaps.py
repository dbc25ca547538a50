"""Id maps: raw ids, as they stand in a file, to row numbers. Legend: L ids, V vocabulary entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Feature, FormatError, IdRangeError, InputError, Model


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Known ids in sorted order and the row of each."""

    ids_V: NDArray[Any]
    rows_V: NDArray[np.int64]

    @classmethod
    def open(cls, name: str, content: bytes | Path) -> Vocabulary:
        """The vocabulary: UTF-8 text, one id a line; the id on line i (from 0) has row i.

        Args:
            name: what the model calls it, for messages.
            content: the text, or where it lies.

        Raises:
            FormatError: the file is missing or empty, or an id stands in it twice.
        """
        try:
            lines = (content if isinstance(content, bytes) else content.read_bytes()).decode().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise FormatError("read", f"cannot read vocabulary '{name}': {error}", "Import the model again.") from error
        ids = np.array(lines, dtype=np.str_)
        if lines and all(line.lstrip("-").isdecimal() for line in lines):
            ids = ids.astype(np.int64)
        order = np.argsort(ids, kind="stable")
        known = ids[order]
        if not len(known) or np.any(known[1:] == known[:-1]):
            raise FormatError("read", f"vocabulary '{name}' is empty or names an id twice", "Write one id a line.")
        return cls(known, order.astype(np.int64))

    def find(self, raw_L: NDArray[Any]) -> NDArray[np.int64]:
        """[L] rows, -1 for ids that are unknown."""
        if self.ids_V.dtype.kind == "U":
            raw_L = raw_L.astype(np.str_)
        elif raw_L.dtype.kind == "U":
            return self._find_text(raw_L)
        at_L = np.minimum(np.searchsorted(self.ids_V, raw_L), len(self.ids_V) - 1)
        return np.where(self.ids_V[at_L] == raw_L, self.rows_V[at_L], -1)

    def _find_text(self, raw_L: NDArray[np.str_]) -> NDArray[np.int64]:
        # Text among numbers: what is no number cannot be known.
        found = np.full(len(raw_L), -1, dtype=np.int64)
        numeric_L = np.array([text.lstrip("-").isdecimal() for text in raw_L.tolist()], dtype=bool)
        if numeric_L.any():
            found[numeric_L] = self.find(raw_L[numeric_L].astype(np.int64))
        return found


@dataclass(frozen=True, slots=True)
class Mapper:
    """Applies one feature's id map.

    Args:
        rows: rows of the feature's table.
        vocabulary: for maps of kind `vocabulary`.
    """

    feature: Feature
    rows: int
    vocabulary: Vocabulary | None = None

    def __call__(self, raw_L: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
        """Row numbers [L], and how many ids the feature's policy replaced.

        `integer` hands ids on as they are: what lies outside the table is the look-up's to judge.

        Raises:
            IdRangeError: an id is not in the vocabulary and the policy is `error`.
            InputError: ids are text and the map wants numbers.
        """
        kind = self.feature.id_map.kind
        if kind == "vocabulary":
            return self._look_up(raw_L)
        ids_L = self._numbers(raw_L)
        return (ids_L % self.rows if kind == "modulo" else ids_L), 0

    def _numbers(self, raw_L: NDArray[Any]) -> NDArray[np.int64]:
        if raw_L.dtype.kind == "i":
            return raw_L.astype(np.int64, copy=False)
        try:
            return raw_L.astype(np.int64)
        except ValueError as error:
            raise InputError(
                "read", f"feature '{self.feature.name}' has ids that are no numbers: {error}", "Give it a vocabulary."
            ) from error

    def _look_up(self, raw_L: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
        assert self.vocabulary is not None
        rows_L = self.vocabulary.find(raw_L)
        unseen_L = rows_L < 0
        count = int(unseen_L.sum())
        if not count:
            return rows_L, 0
        policy = self.feature.id_map.out_of_range
        if policy == "default":
            rows_L[unseen_L] = self.feature.id_map.default_row
        elif policy == "wrap":
            rows_L[unseen_L] = self._numbers(raw_L[unseen_L]) % self.rows
        else:
            raise IdRangeError(
                "read",
                f"id {raw_L[np.argmax(unseen_L)].item()!r} of feature '{self.feature.name}' is not in its vocabulary",
                "Add it, or set the feature's out_of_range to 'default' or, for numbers, 'wrap'.",
            )
        return rows_L, count


def mappers(model: Model, files: Mapping[str, bytes | Path] | None = None) -> Mapping[str, Mapper]:
    """Feature name to its mapper.

    Args:
        files: `Weights.files`, where vocabularies are.

    Raises:
        FormatError: a vocabulary is bad or not among `files`.
    """
    return {feature.name: _mapper(model, feature, files or {}) for feature in model.features}


def _mapper(model: Model, feature: Feature, files: Mapping[str, bytes | Path]) -> Mapper:
    rows = model.table_of(feature).rows
    if feature.id_map.kind != "vocabulary":
        return Mapper(feature, rows)
    name = feature.id_map.file
    if name is None or name not in files:
        raise FormatError("read", f"feature '{feature.name}' needs its vocabulary '{name}'", "Give the model's files.")
    vocabulary = Vocabulary.open(name, files[name])
    if len(vocabulary.ids_V) > rows:
        raise FormatError(
            "read",
            f"the vocabulary of feature '{feature.name}' has {len(vocabulary.ids_V)} ids; its table has {rows} rows",
            "Import the model again.",
        )
    return Mapper(feature, rows, vocabulary)
