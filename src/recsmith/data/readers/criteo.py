"""Criteo's click logs: label, 13 counts (I1-I13), 26 categories as eight hexadecimal digits (C1-C26).

As facebookresearch/dlrm prepares them: an empty count is 0, a negative one 0, and the model sees log(x + 1);
an empty category is the id 0. Labels are absent from the test split (39 cells a row instead of 40; the first block
of rows tells which). Some copies lost the tabs behind the last filled cell: up to three cells are put back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import parquet
from .delimited import text
from .judge import leave_out
from .rows import Column, Rows, Tally

COUNTS, CATEGORIES = 13, 26
_LABELLED = 1 + COUNTS + CATEGORIES
_TRIMMED = 3
_FIRST_LOOK = 64
_NAMES = [f"C{i + 1}" for i in range(CATEGORIES)]


def tsv_rows(path: Path, features: Sequence[str], dense_inputs: int, block: int, tally: Tally) -> Iterator[Rows]:
    """The samples of a raw log (`train.txt`, `day_0.gz`), `block` at a time.

    Raises:
        FormatError: the file cannot be opened or is damaged.
        InputError: a row is bad and bad rows are errors.
    """
    with text(path) as stream:
        number, width = 0, 0
        while chunk := list(islice(stream, max(block, _FIRST_LOOK if not number else 1))):
            cells = [line.rstrip("\r\n").split("\t") for line in chunk]
            width = width or (_LABELLED if any(len(row) == _LABELLED for row in cells) else _LABELLED - 1)
            kept = [row for i, row in enumerate(cells, number + 1) if _good(row, width, f"{path}:{i}", tally)]
            number += len(chunk)
            if kept:
                yield _rows(kept, dense_inputs)


def _good(cells: list[str], width: int, where: str, tally: Tally) -> bool:
    lost = width - len(cells)
    if not 0 <= lost <= _TRIMMED:
        tally.bad(where, f"{len(cells)} cells; a Criteo row has 40, or 39 without label")
        return False
    cells.extend([""] * lost)
    try:
        numbers = [int(cell or 0) for cell in cells[:-CATEGORIES]]
        numbers += [int(cell or "0", 16) for cell in cells[-CATEGORIES:]]
        if not all(-(2**63) <= number < 2**63 for number in numbers):
            raise ValueError("a number beyond 64 bits")
    except ValueError as error:
        tally.bad(where, str(error))
        return False
    return True


def _rows(kept: list[list[str]], dense_inputs: int) -> Rows:
    categories = {
        name: Column(np.array([int(row[at - CATEGORIES] or "0", 16) for row in kept], dtype=np.int64))
        for at, name in enumerate(_NAMES)
    }
    counts_SD = np.array([[int(cell or 0) for cell in row[-39:-26]] for row in kept], dtype=np.float64)
    labelled = len(kept[0]) == _LABELLED
    labels_S = np.array([float(row[0] or "nan") for row in kept], dtype=np.float32) if labelled else None
    return Rows(categories, log_counts(counts_SD) if dense_inputs else None, labels_S, positional=True)


def log_counts(counts_SD: NDArray[np.floating]) -> NDArray[np.float32]:
    """log(max(x, 0) + 1), what DLRM's bottom MLP was trained on."""
    return np.log1p(np.maximum(np.nan_to_num(counts_SD), 0)).astype(np.float32)


def parquet_rows(path: Path, features: Sequence[str], dense_inputs: int, block: int, tally: Tally) -> Iterator[Rows]:
    """The samples of a log kept as Parquet: columns label, I1-I13, C1-C26; categories as numbers or hexadecimal text.

    Empty cells are what they are in the text.

    Raises:
        FormatError: it is not a Parquet file.
        InputError: a row is bad and bad rows are errors.
        UnavailableError: pyarrow is not installed.
    """
    before = 0
    for part in parquet.rows(path, _NAMES, dense_inputs and COUNTS, block, tally, filled=True):
        parsed = {name: _numbers(column.values) for name, column in part.columns.items()}
        columns = {name: Column(ids_S) for name, (ids_S, _) in parsed.items()}
        good = {f"a category {name} that is not hexadecimal": good_S for name, (_, good_S) in parsed.items()}
        dense = None if part.dense is None else log_counts(part.dense)
        kept = leave_out(Rows(columns, dense, part.labels, positional=True), good, f"{path}: row", before, tally)
        before += len(part)
        if len(kept):
            yield kept


def _numbers(values_S: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """[S] the categories, 0 where one is bad, and [S] whether each is good."""
    if values_S.dtype.kind != "U":
        return values_S.astype(np.int64), np.ones(len(values_S), bool)
    parsed = [_category(text) for text in values_S.tolist()]
    return np.array([number or 0 for number in parsed], np.int64), np.array([n is not None for n in parsed], bool)


def _category(text: str) -> int | None:
    try:
        number = int(text or "0", 16)
    except ValueError:
        return None
    return number if -(2**63) <= number < 2**63 else None
