"""Factors of a platform: what parts of a look-up take in company, in units of what they take alone (ours).

A look-up is predicted as the sum over its parts of factor x seconds measured alone. Factors are found from whole
look-ups by least absolute relative error, within what is plausible, with a pull towards 1 for parts that the look-ups
hardly tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from recsmith.cost.machine import ONLY_IN_COMPANY
from recsmith.spec import Record

Floats = NDArray[np.float64]

FIXED = ("call", "arithmetic")
"""Parts that are what they are: measured as they occur, or a bound."""

_PLAUSIBLE, _COUNTED = (0.4, 2.5), (0.0, 8.0)
"""Parts measured alone take about as long in company; those that are only counted may take anything."""
_PULL = 0.1
_ROUNDS, _SWEEPS = 40, 400
_SMALL_ERROR = 0.03


class Trial(Record, frozen=True):
    """A whole look-up.

    Attributes:
        parts: predicted seconds of its parts, measured alone.
        seconds: what it took.
    """

    parts: Mapping[str, float]
    seconds: float

    def predicted_s(self, factors: Mapping[str, float]) -> float:
        """Seconds by `factors`."""
        return sum(seconds * factors.get(part, 1.0) for part, seconds in self.parts.items())


def fit(trials: Sequence[Trial]) -> dict[str, float]:
    """Part to factor.

    Shapes: T trials, P parts.
    """
    names = sorted({part for trial in trials for part in trial.parts} - set(FIXED))
    if not names:
        return {}
    shares_TP = np.array([[trial.parts.get(name, 0.0) / trial.seconds for name in names] for trial in trials])
    rest_T = np.array([1.0 - sum(trial.parts.get(name, 0.0) for name in FIXED) / trial.seconds for trial in trials])
    weights_T = np.ones(len(trials))
    factors_P = np.ones(len(names))
    range_P2 = np.array([_COUNTED if name in ONLY_IN_COMPANY else _PLAUSIBLE for name in names])
    for _ in range(_ROUNDS):
        factors_P = _least_squares(shares_TP, rest_T, weights_T, factors_P, range_P2)
        errors_T = np.abs(shares_TP @ factors_P - rest_T)
        weights_T = 1.0 / np.maximum(errors_T, _SMALL_ERROR)
    return {name: round(float(factor), 4) for name, factor in zip(names, factors_P, strict=True)}


def median_error(trials: Sequence[Trial], factors: Mapping[str, float]) -> float:
    """Median of |predicted / measured - 1|."""
    return float(np.median([abs(trial.predicted_s(factors) / trial.seconds - 1.0) for trial in trials]))


def _least_squares(shares_TP: Floats, rest_T: Floats, weights_T: Floats, start_P: Floats, range_P2: Floats) -> Floats:
    """Weighted least squares within ranges and with the pull towards 1, by coordinate descent."""
    scaled_TP = shares_TP * weights_T[:, None]
    pull_P = _PULL * np.maximum((scaled_TP * shares_TP).max(axis=0), 1e-12)
    gram_PP = scaled_TP.T @ shares_TP + np.diag(pull_P)
    wanted_P = scaled_TP.T @ rest_T + pull_P
    factors_P = start_P.copy()
    for _ in range(_SWEEPS):
        before_P = factors_P.copy()
        for p in range(len(factors_P)):
            change = (wanted_P[p] - gram_PP[p] @ factors_P) / gram_PP[p, p]
            factors_P[p] = np.clip(factors_P[p] + change, *range_P2[p])
        if np.abs(factors_P - before_P).max() < 1e-6:
            break
    return factors_P
