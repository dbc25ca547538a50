"""Avazu's click log: CSV with id, click, hour (YYMMDDHH) and 21 categories, nine of them hexadecimal digits.

Features: the 21 categories by their names. Dense inputs: hour of the day and day of the week, in [0, 1]. The test
file has no column `click`, hence no labels.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import islice
from pathlib import Path

import numpy as np

from recsmith.spec import FormatError

from .delimited import text
from .rows import Column, Rows, Tally

DENSE_INPUTS = 2
NUMBERS = ("C1", "banner_pos", "device_type", "device_conn_type", *(f"C{i}" for i in range(14, 22)))
DIGESTS = (
    "site_id",
    "site_domain",
    "site_category",
    "app_id",
    "app_domain",
    "app_category",
    "device_id",
    "device_ip",
    "device_model",
)
FEATURES = ("C1", "banner_pos", *DIGESTS, "device_type", "device_conn_type", *(f"C{i}" for i in range(14, 22)))

Parsed = tuple[list[int], float, tuple[float, float]]


def rows(path: Path, features: Sequence[str], dense_inputs: int, block: int, tally: Tally) -> Iterator[Rows]:
    """The samples of the log in file order (which is time order), `block` at a time. Empty categories are the id 0.

    Raises:
        FormatError: the file cannot be opened, is damaged, or its first line is not Avazu's.
        InputError: a row is bad and bad rows are errors.
    """
    with text(path) as stream:
        lines = csv.reader(stream)
        header = next(lines, [])
        missing = [name for name in ("hour", *FEATURES) if name not in header]
        if missing:
            raise FormatError("read", f"'{path}' lacks Avazu's column '{missing[0]}'", "Use the reader 'tsv'.")
        at = {name: i for i, name in enumerate(header)}
        number = 1
        while chunk := list(islice(lines, block)):
            parsed = (_parse(cells, at, f"{path}:{i}", tally) for i, cells in enumerate(chunk, number + 1))
            kept = [row for row in parsed if row is not None]
            number += len(chunk)
            if kept:
                yield _rows(kept, dense_inputs, labelled="click" in at)


def _parse(cells: list[str], at: dict[str, int], where: str, tally: Tally) -> Parsed | None:
    if len(cells) != len(at):
        tally.bad(where, f"{len(cells)} cells where the header names {len(at)} columns")
        return None
    try:
        ids = [int(cells[at[name]] or "0", 16 if name in DIGESTS else 10) for name in FEATURES]
        label = float(cells[at["click"]] or "nan") if "click" in at else 0.0
        when = cells[at["hour"]]
        day = date(2000 + int(when[0:2]), int(when[2:4]), int(when[4:6]))
        hour = int(when[6:8])
        if not (0 <= hour < 24 and all(-(2**63) <= id < 2**63 for id in ids)):
            raise ValueError(f"an hour of {hour}, or an id beyond 64 bits")
    except ValueError as error:
        tally.bad(where, str(error))
        return None
    return ids, label, (hour / 23, day.weekday() / 6)


def _rows(kept: list[Parsed], dense_inputs: int, *, labelled: bool) -> Rows:
    ids_SF = np.array([ids for ids, _, _ in kept], dtype=np.int64)
    columns = {name: Column(np.ascontiguousarray(ids_SF[:, i])) for i, name in enumerate(FEATURES)}
    dense = np.array([hours for _, _, hours in kept], dtype=np.float32) if dense_inputs else None
    return Rows(columns, dense, np.array([label for _, label, _ in kept], np.float32) if labelled else None)
