"""Which samples cannot be used, whatever file they came from: numbers that are none, ids that are no ids. S samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Model

from .rows import Column, Rows, Tally


def usable(parts: Iterable[Rows], model: Model, where: str, tally: Tally) -> Iterator[Rows]:
    """The samples whose dense inputs and weights are finite and whose ids are numbers where `model` wants numbers.

    Raises:
        InputError: a sample is none of these and bad rows are errors.
    """
    before = 0
    wanted = [feature.name for feature in model.features if feature.id_map.kind != "vocabulary"]
    for rows in parts:
        found = {"a number that is none": finite(rows)}
        found |= {
            f"an id of '{name}' that is no number": _of_samples(column, _whole(column.values))
            for name in wanted
            if (column := rows.columns.get(name)) is not None and column.values.dtype.kind == "U"
        }
        kept = leave_out(rows, found, f"{where}: sample", before, tally)
        before += len(rows)
        if len(kept):
            yield kept


def leave_out(rows: Rows, good: dict[str, NDArray[np.bool_]], where: str, before: int, tally: Tally) -> Rows:
    """The samples that are good in every way; the others are bad rows.

    Args:
        good: what is wrong with a sample to the samples [S] with which it is not.
        before: samples that came before, to say where a bad one is.

    Raises:
        InputError: one is bad and bad rows are errors.
    """
    kept_S = np.logical_and.reduce(list(good.values()))
    if kept_S.all():
        return rows
    for at in np.flatnonzero(~kept_S).tolist():
        tally.bad(f"{where} {before + at}", next(why for why, good_S in good.items() if not good_S[at]))
    return rows.take(np.flatnonzero(kept_S))


def finite(rows: Rows) -> NDArray[np.bool_]:
    """[S] whether all dense inputs and weights of a sample are numbers."""
    good_S = np.ones(len(rows), bool)
    if rows.dense is not None:
        good_S &= np.isfinite(rows.dense).all(axis=1)
    for column in rows.columns.values():
        if column.weights is not None:
            good_S &= _of_samples(column, np.isfinite(column.weights))
    return good_S


def _whole(values_L: NDArray[np.str_]) -> NDArray[np.bool_]:
    return np.array([_is_int64(text) for text in values_L.tolist()], bool)


def _is_int64(text: str) -> bool:
    try:
        return -(2**63) <= int(text) < 2**63
    except ValueError:
        return False


def _of_samples(column: Column, good_L: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[S] whether all ids of a sample's bag are good."""
    sample_L = np.repeat(np.arange(len(column)), column.lengths)
    return np.bincount(sample_L[~good_L], minlength=len(column)) == 0
