"""Text tables with a header line: TSV or CSV, plain or gzipped.

A column named as a feature holds its ids: one, or a bag separated by spaces (`17 4 4`); an empty cell is an
empty bag. Dense inputs are chosen as `dense.py` says. `label` is optional.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import FormatError

from .dense import dense_columns
from .rows import Column, Rows, Tally, offsets_of


@contextmanager
def text(path: Path) -> Iterator[IO[str]]:
    """The file opened as text, unzipped when it ends in `.gz`.

    Raises:
        FormatError: it cannot be opened.
    """
    try:
        opened = gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="")  # noqa: SIM115
    except OSError as error:
        raise FormatError("read", f"cannot open '{path}': {error.strerror}", "Check the path.") from error
    with opened as stream:
        try:
            yield stream
        except (gzip.BadGzipFile, EOFError, UnicodeDecodeError) as error:
            raise FormatError("read", f"'{path}' is damaged: {error}", "Write it again.") from error


def rows(path: Path, features: Sequence[str], dense_inputs: int, block: int, tally: Tally) -> Iterator[Rows]:
    """The samples of the table, `block` at a time.

    Raises:
        FormatError: the file is empty or damaged.
        InputError: a row is bad and bad rows are errors.
    """
    delimiter = "," if ".csv" in path.suffixes else "\t"
    with text(path) as stream:
        lines = csv.reader(stream, delimiter=delimiter)
        header = next(lines, None)
        if header is None:
            raise FormatError("read", f"'{path}' is empty", "Its first line names the columns.")
        at = {name: i for i, name in enumerate(header)}
        ids = [name for name in features if name in at]
        dense = dense_columns(header, features, dense_inputs)
        while True:
            chunk = list(islice(lines, block))
            if not chunk:
                return
            kept = [
                parsed
                for number, cells in enumerate(chunk, lines.line_num - len(chunk) + 1)
                if (parsed := _parse(cells, header, at, ids, dense, f"{path}:{number}", tally)) is not None
            ]
            if kept:
                yield _rows(kept, ids, dense_inputs, has_label="label" in at)


Parsed = tuple[list[list[str]], list[float], float]


def _parse(
    cells: list[str], header: list[str], at: dict[str, int], ids: list[str], dense: list[str], where: str, tally: Tally
) -> Parsed | None:
    if len(cells) != len(header):
        tally.bad(where, f"{len(cells)} cells where the header names {len(header)} columns")
        return None
    try:
        numbers = [float(cells[at[name]] or 0) for name in dense]
        label = float(cells[at["label"]] or "nan") if "label" in at else 0.0
    except ValueError as error:
        tally.bad(where, str(error))
        return None
    return [cells[at[name]].split() for name in ids], numbers, label


def _rows(kept: list[Parsed], ids: list[str], dense_inputs: int, *, has_label: bool) -> Rows:
    columns = {name: _column([bags[i] for bags, _, _ in kept]) for i, name in enumerate(ids)}
    dense = np.array([numbers for _, numbers, _ in kept], dtype=np.float32) if dense_inputs else None
    labels = np.array([label for _, _, label in kept], dtype=np.float32) if has_label else None
    return Rows(columns, dense, labels)


def _column(bags: list[list[str]]) -> Column:
    lengths = np.array([len(bag) for bag in bags], dtype=np.int64)
    values = numbers_or_text([token for bag in bags for token in bag])
    return Column(values, None if bool(np.all(lengths == 1)) else offsets_of(lengths))


def numbers_or_text(tokens: list[str]) -> NDArray[np.int64] | NDArray[np.str_]:
    """[len(tokens)] int64 when all are whole numbers, else text."""
    try:
        return np.array(tokens, dtype=np.int64) if tokens else np.empty(0, np.int64)
    except (ValueError, OverflowError):
        return np.array(tokens, dtype=np.str_)
