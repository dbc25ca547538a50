"""How good predictions are: logloss, accuracy, area under the ROC curve, each with a bootstrap interval.

Legend: S samples, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import InputError, Record

CONFIDENCE = 0.95
_SMALLEST = 1e-7  # probabilities are kept this far from 0 and 1 in the logloss

Scores = NDArray[np.floating]
Labels = NDArray[np.floating]


class Figure(Record, frozen=True):
    """A figure and the interval that holds it with 95 % confidence (without resamples low = high = value)."""

    value: float
    low: float
    high: float


class Quality(Record, frozen=True):
    """How well a model predicts a set of samples.

    Attributes:
        auc: NaN where the samples are all clicks or have none.
        calibration: mean prediction over the rate of clicks.
    """

    samples: int
    clicks: int
    accuracy: Figure
    auc: Figure
    logloss: Figure
    calibration: float


def quality(scores_S: Scores, labels_S: Labels, *, resamples: int = 200, seed: int = 0) -> Quality:
    """Figures for predicted probabilities and labels that are 0 or 1; intervals are percentiles over resamples.

    Raises:
        InputError: there are no samples, or a score is no number.
    """
    _check(scores_S, labels_S)
    order = np.argsort(scores_S, kind="stable")
    clicks_S = labels_S[order] > 0.5
    ends_G = np.flatnonzero(np.append(np.diff(scores_S[order]) != 0, True)) + 1
    right_S = ((scores_S >= 0.5) == (labels_S > 0.5))[order].astype(np.float64)
    loss_S = _losses(scores_S, labels_S)[order]
    ones_S = np.ones(len(order))
    drawn: list[tuple[float, float, float]] = []
    draw = np.random.Generator(np.random.SFC64(seed))
    for _ in range(resamples):
        times_S = np.bincount(draw.integers(0, len(order), len(order)), minlength=len(order)).astype(np.float64)
        drawn.append(_figures(times_S, right_S, loss_S, clicks_S, ends_G))
    values = _figures(ones_S, right_S, loss_S, clicks_S, ends_G)
    accuracy, area, logloss = (_figure(value, [each[i] for each in drawn]) for i, value in enumerate(values))
    clicks = int(clicks_S.sum())
    rate = clicks / len(order)
    calibration = float(scores_S.mean()) / rate if rate else math.nan
    return Quality(len(order), clicks, accuracy, area, logloss, calibration)


def auc(scores_S: Scores, labels_S: Labels) -> float:
    """The chance that a click scores above a non-click, ties counting half; NaN where one kind is missing."""
    order = np.argsort(scores_S, kind="stable")
    ends_G = np.flatnonzero(np.append(np.diff(scores_S[order]) != 0, True)) + 1
    return _area(np.ones(len(order)), labels_S[order] > 0.5, ends_G)


def paired(
    ours_S: Scores,
    theirs_S: Scores,
    labels_S: Labels,
    measure: Callable[[Scores, Labels], NDArray[np.float64]],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Figure:
    """Mean of `measure(ours) - measure(theirs)` a sample, resampling the same samples for both.

    Args:
        measure: one number a sample, `correct` or `losses`.
    """
    difference_S = measure(ours_S, labels_S) - measure(theirs_S, labels_S)
    draw = np.random.Generator(np.random.SFC64(seed))
    count = len(difference_S)
    means = [float(difference_S[draw.integers(0, count, count)].mean()) for _ in range(resamples)]
    return _figure(float(difference_S.mean()), means)


def correct(scores_S: Scores, labels_S: Labels) -> NDArray[np.float64]:
    """[S] 1 where the prediction falls on the label's side of one half."""
    return ((scores_S >= 0.5) == (labels_S > 0.5)).astype(np.float64)


def losses(scores_S: Scores, labels_S: Labels) -> NDArray[np.float64]:
    """[S] logloss of each sample."""
    return _losses(scores_S, labels_S)


def _check(scores_S: Scores, labels_S: Labels) -> None:
    if not len(scores_S) or scores_S.shape != labels_S.shape:
        raise InputError(
            "evaluate", f"{len(scores_S)} predictions for {len(labels_S)} labels", "Give one each, at least one."
        )
    if not np.isfinite(scores_S).all():
        bad = int((~np.isfinite(scores_S)).sum())
        raise InputError("evaluate", f"{bad} predictions are no numbers", "Train with a lower rate.")


def _losses(scores_S: Scores, labels_S: Labels) -> NDArray[np.float64]:
    likely_S = np.clip(scores_S.astype(np.float64), _SMALLEST, 1 - _SMALLEST)
    return -np.log(np.where(labels_S > 0.5, likely_S, 1 - likely_S))


def _figures(
    times_S: NDArray[np.float64],
    right_S: NDArray[np.float64],
    loss_S: NDArray[np.float64],
    clicks_S: NDArray[np.bool_],
    ends_G: NDArray[np.intp],
) -> tuple[float, float, float]:
    """Accuracy, AUC and logloss when sample s, in order of score, counts `times_S[s]` times."""
    total = times_S.sum()
    return float(times_S @ right_S / total), _area(times_S, clicks_S, ends_G), float(times_S @ loss_S / total)


def _area(times_S: NDArray[np.float64], clicks_S: NDArray[np.bool_], ends_G: NDArray[np.intp]) -> float:
    """Area under the ROC curve of samples in order of score; G groups of equal scores end at `ends_G`."""
    clicks_G = np.diff(np.cumsum(times_S * clicks_S)[ends_G - 1], prepend=0.0)
    others_G = np.diff(np.cumsum(times_S * ~clicks_S)[ends_G - 1], prepend=0.0)
    pairs = clicks_G.sum() * others_G.sum()
    if not pairs:
        return math.nan
    below_G = np.cumsum(others_G) - others_G / 2
    return float(clicks_G @ below_G / pairs)


def _figure(value: float, drawn: list[float]) -> Figure:
    if not drawn:
        return Figure(value, value, value)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.nanpercentile(drawn, [tail, 100 - tail]) if not np.isnan(drawn).all() else (math.nan, math.nan)
    return Figure(value, float(low), float(high))
