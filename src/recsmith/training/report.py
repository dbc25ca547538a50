"""How training goes."""

from __future__ import annotations

from recsmith.spec import Record


class Report(Record, frozen=True):
    """How training went since the report before: each sample is predicted before it is learned from.

    Attributes:
        step: updates done.
        logloss, accuracy, auc: over the samples since then; AUC is NaN without clicks.
    """

    step: int
    samples: int
    logloss: float
    accuracy: float
    auc: float | None
