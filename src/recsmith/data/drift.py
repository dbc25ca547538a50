"""A trace whose popular rows change while it runs (ours)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recsmith.spec import Jagged, Model, Zipf

from . import synthetic, traces

SAMPLES = 200_000
_BATCH = 2_000


def write(
    model: Model, file: str | Path, *, samples: int = SAMPLES, alpha: float = 1.05, turns: float = 1.0, seed: int = 0
) -> Path:
    """Write a trace of one id a sample for every feature of `model`; returns its file.

    Args:
        alpha: of the law that rows follow at any moment.
        turns: how many times the popular rows wander through the whole table from the first sample to the last.

    Raises:
        UnavailableError: pyarrow is not installed.
    """
    return traces.write(file, model, batches(model, samples, alpha, turns, seed))


def batches(model: Model, samples: int, alpha: float, turns: float, seed: int) -> Iterator[Jagged]:
    """The same as batches of 2,000 samples and what is left."""
    rngs = [np.random.Generator(np.random.SFC64([seed, at])) for at in range(len(model.features))]
    for start in range(0, samples, _BATCH):
        count = min(_BATCH, samples - start)
        when_S = (start + np.arange(count)) * (turns / samples)
        values = []
        for feature, rng in zip(model.features, rngs, strict=True):
            rows = model.table_of(feature).rows
            values.append((synthetic.ids(Zipf(alpha), rows, count, rng) + (when_S * rows).astype(np.int64)) % rows)
        yield Jagged(np.concatenate(values), None, count)
