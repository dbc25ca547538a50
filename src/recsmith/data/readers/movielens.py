"""MovieLens-100K: the folder with `u.data`, `u.user` and `u.item`.

Features: user, item, gender, occupation, zip (first digit), and genres, a bag. Dense inputs: age, release year
and time of the rating, each scaled to about [0, 1]. A rating of 4 or 5 is a click.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import FormatError

from .rows import Column, Rows, Tally, offsets_of

DENSE_INPUTS = 3
GENRES = 19
_CLICK = 4
_FIRST_RATING, _LAST_RATING = 874_724_710, 893_286_638


@dataclass(frozen=True, slots=True)
class _Side:
    """Facts about users (by user id) and items (by item id); index 0 stands for nobody."""

    user_ids_U: dict[str, NDArray[np.int64]]
    age_U: NDArray[np.float32]
    year_I: NDArray[np.float32]
    genres_IG: NDArray[np.bool_]


def cardinalities(folder: Path) -> dict[str, int]:
    """Feature name to the rows its table needs (ids are used as they are, so user and item start at 1).

    Raises:
        FormatError: a file is missing or malformed.
    """
    side = _side(folder)
    found = {"user": len(side.age_U), "item": len(side.year_I)}
    found |= {name: int(ids.max()) + 1 for name, ids in side.user_ids_U.items()}
    return found | {"genres": GENRES}


def rows(path: Path, features: Sequence[str], dense_inputs: int, block: int, tally: Tally) -> Iterator[Rows]:
    """The ratings in file order, `block` at a time. `path` is the folder, or a ratings file in it.

    Raises:
        FormatError: a file is missing or malformed.
        InputError: a row is bad and bad rows are errors.
    """
    ratings = path / "u.data" if path.is_dir() else path
    side = _side(ratings.parent)
    with _open(ratings) as stream:
        number = 0
        while chunk := list(islice(stream, block)):
            cells = [line.split() for line in chunk]
            kept = [row for i, row in enumerate(cells, number + 1) if _good(row, side, f"{ratings}:{i}", tally)]
            number += len(chunk)
            if kept:
                yield _rows(np.array(kept, dtype=np.int64), side, dense_inputs)


def _good(cells: list[str], side: _Side, where: str, tally: Tally) -> bool:
    if len(cells) != 4 or not all(cell.isdigit() for cell in cells):
        tally.bad(where, "a rating is four numbers: user, item, rating, time")
        return False
    user, item, rating, seconds = map(int, cells)
    if not (1 <= rating <= 5 and seconds < 2**63):
        tally.bad(where, f"a rating of {rating} at {seconds} s; ratings are 1 to 5")
        return False
    if not (0 < user < len(side.age_U) and 0 < item < len(side.year_I)):
        tally.bad(where, f"user {cells[0]} or item {cells[1]} is not in u.user or u.item")
        return False
    return True


def _rows(ratings_S4: NDArray[np.int64], side: _Side, dense_inputs: int) -> Rows:
    user_S, item_S, rating_S, time_S = ratings_S4.T
    flags_SG = side.genres_IG[item_S]
    columns = {
        "user": Column(user_S),
        "item": Column(item_S),
        **{name: Column(ids[user_S]) for name, ids in side.user_ids_U.items()},
        "genres": Column(np.nonzero(flags_SG)[1].astype(np.int64), offsets_of(flags_SG.sum(axis=1))),
    }
    when_S = (time_S - _FIRST_RATING) / (_LAST_RATING - _FIRST_RATING)
    dense_SD = np.stack([side.age_U[user_S], side.year_I[item_S], when_S], axis=1).astype(np.float32)
    return Rows(columns, dense_SD if dense_inputs else None, (rating_S >= _CLICK).astype(np.float32))


def _side(folder: Path) -> _Side:
    try:
        users = [line.rstrip("\n").split("|") for line in _open(folder / "u.user")]
        items = [line.rstrip("\n").split("|") for line in _open(folder / "u.item")]
        occupations = {name: i for i, name in enumerate(sorted({user[3] for user in users}))}
        count_U, count_I = max(int(u[0]) for u in users) + 1, max(int(i[0]) for i in items) + 1
        ids = {name: np.zeros(count_U, np.int64) for name in ("gender", "occupation", "zip")}
        age_U, year_I = np.zeros(count_U, np.float32), np.zeros(count_I, np.float32)
        genres_IG = np.zeros((count_I, GENRES), bool)
        for number, age, gender, occupation, area in users:
            at = int(number)
            ids["gender"][at] = gender == "F"
            ids["occupation"][at] = occupations[occupation]
            ids["zip"][at] = int(area[0]) if area[:1].isdigit() else 10
            age_U[at] = int(age) / 100
        for item in items:
            year_I[int(item[0])] = (int(item[2][-4:]) - 1900) / 100 if item[2] else 0.95
            genres_IG[int(item[0])] = [flag == "1" for flag in item[5 : 5 + GENRES]]
    except (ValueError, IndexError) as error:
        raise FormatError("read", f"'{folder}' is not MovieLens-100K: {error}", "Unpack ml-100k.zip again.") from error
    return _Side(ids, age_U, year_I, genres_IG)


def _open(path: Path) -> TextIO:
    try:
        return path.open(encoding="latin-1")
    except OSError as error:
        raise FormatError("read", f"cannot open '{path}': {error.strerror}", "Unpack ml-100k.zip there.") from error
