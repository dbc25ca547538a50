"""Predictions for a file of rows, streamed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recsmith.data import hot, idmaps, readers, writers
from recsmith.spec import Batch, Plan, Platform, Prediction, Progress, Record, Streaming, Workload

from .compose import compile, load, plan, platform


class PredictSummary(Record, frozen=True):
    """What a prediction run did.

    Attributes:
        output: file written, or None.
        bad_rows: rows of the input that were left out.
        first_bad: where and why the first of them was bad.
        replaced: ids replaced by their features' policy.
        positives: predictions of at least one half.
        mean: mean prediction.
        seconds: from the first batch to the last, reading and writing included.
        notes: what was assumed, a sentence each.
    """

    samples: int
    output: str | None
    bad_rows: int
    first_bad: str
    replaced: int
    positives: int
    mean: float
    seconds: float
    notes: tuple[str, ...]


def predict(
    directory: str | Path,
    rows: str | Path,
    output: str | Path | None = None,
    *,
    made: Plan | None = None,
    machine: Platform | None = None,
    batch: int = 2048,
    reader: str = "auto",
    bad_rows: readers.BadRows = "error",
    isa: str = "auto",
    profile: str | Path | None = None,
    progress: Progress | None = None,
) -> PredictSummary:
    """Predict every row of `rows` with the artifact in `directory`; write to `output` when given.

    Args:
        made: plan to serve by; made on the spot for uniform ids when None.
        machine: the plan's platform; probed, with modelled speeds, when None.
        batch: rows at a time.
        reader: a name on `recsmith.data.readers.READERS`, or "auto".
        bad_rows: `error`, or `skip` to count and leave them out.
        profile: recorded ids (Parquet), where the plan keeps finished rows of those asked for most.

    Raises:
        FormatError, CheckpointError, InputError: the artifact, plan or rows are bad; says where.
    """
    model, weights = load(directory)
    notes = []
    here = machine or platform("cpu")
    if made is None and here.source == "probed":
        notes.append(
            "No machine profile given: probed this machine and planned with modelled speeds (recsmith measure)."
        )
    if made is None:
        made = plan(model, here, Workload.uniform(model, batch))
    tally = readers.Tally(bad_rows)
    maps = idmaps.mappers(model, weights.files)
    counted = _Counted()
    kept = hot.hottest(model, made.serving, profile)
    if profile is not None and not kept:
        notes.append("The plan keeps no rows of hot ids: the profile was not used.")
    options: dict[str, Any] = {"profile": kept} if kept else {}
    with compile(model, made, weights, platform=here, isa=isa, progress=progress, **options) as engine:
        start = time.perf_counter()
        batches = readers.read(rows, model, batch, reader=reader, maps=maps, tally=tally)
        watched = _watched(batches, progress)
        predictions = counted.over(
            engine.stream(watched) if isinstance(engine, Streaming) else map(engine.run, watched)
        )
        if output is None:
            for _ in predictions:
                pass
        else:
            writers.write(output, predictions)
        seconds = time.perf_counter() - start
    return PredictSummary(
        samples=counted.samples,
        output=None if output is None else str(output),
        bad_rows=tally.skipped,
        first_bad=tally.first_bad,
        replaced=counted.replaced + tally.unseen.total(),
        positives=counted.positives,
        mean=counted.total / max(1, counted.samples),
        seconds=seconds,
        notes=tuple(notes),
    )


class _Counted:
    """Adds predictions up as they pass."""

    def __init__(self) -> None:
        self.samples = self.positives = self.replaced = 0
        self.total = 0.0

    def over(self, predictions: Iterator[Prediction]) -> Iterator[Prediction]:
        """The same predictions, counted."""
        for prediction in predictions:
            self.samples += len(prediction.values)
            self.positives += int((prediction.values >= 0.5).sum())
            self.total += float(prediction.values.sum())
            self.replaced += prediction.replaced
            yield prediction


def _watched(batches: Iterator[Batch], progress: Progress | None) -> Iterator[Batch]:
    done = 0
    for each in batches:
        yield each
        done += each.sparse.batch
        if progress is not None:
            progress("predict", done, 0)
