"""How well a model predicts samples whose clicks are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recsmith.data import idmaps, sources
from recsmith.data.readers import BadRows, Tally
from recsmith.data.readers.batches import assemble, rechunk
from recsmith.data.readers.rows import Rows
from recsmith.data.store import with_labels
from recsmith.spec import Batch, DecoderPrecision, Dhe, InputError, Model, Progress, Record, Serving, Weights, Workload
from recsmith.training import metrics
from recsmith.training.metrics import Quality

from .compose import compile, load, plan, platform

Engine = Literal["recsmith", "torch"]
_BATCH = 2048


class Evaluated(Record, frozen=True):
    """The quality of a model on a source of samples.

    Attributes:
        engine: what predicted.
        precision: of a DHE's products.
        table_bytes: of all embeddings as they are held.
        bad_rows, first_bad: samples left out, and where and why the first was.
        unseen: feature to ids that its vocabulary lacks.
    """

    model: str
    data: str
    engine: Engine
    table_bytes: int
    bad_rows: int
    first_bad: str
    unseen: dict[str, int]
    quality: Quality
    precision: DecoderPrecision = "fp32"


def evaluate(
    directory: str | Path,
    data: str,
    *,
    engine: Engine = "recsmith",
    bad_rows: BadRows = "error",
    resamples: int = 200,
    limit: int = 0,
    precision: DecoderPrecision = "fp32",
    serving: Sequence[Serving] = (),
    profile: Mapping[str, NDArray[np.int64]] | None = None,
    progress: Progress | None = None,
) -> Evaluated:
    """Accuracy, AUC and logloss of an artifact, or of the model in a folder written by `train`, streamed.

    Args:
        data: as `train` takes it; all its samples are predicted, those for training included.
        engine: `recsmith` serves the model as `predict` does; `torch` runs the module that was trained.
        resamples: for the bootstrap intervals.
        limit: > 0: the first so many samples only.
        precision: in which a DHE's rows are computed; `serving` says it itself.
        serving, profile: how computed tables are served, as `plan` and `compile` take them.

    Raises:
        FormatError, CheckpointError: data or model cannot be read.
        InputError: a sample is bad and bad rows are errors, or there are none; or a precision was asked for that
            nothing of the model, of torch's module, or beside `serving`, is computed in.
    """
    model, weights = load(directory)
    if precision != "fp32":
        _check_precision(model, engine, precision, serving)
    ways = serving or tuple(Serving(t.name, precision=precision) for t in model.tables if t.computed is not None)
    source, tally = sources.parse(data), Tally(bad_rows)
    maps = idmaps.mappers(model, weights.files)
    scores, labels = [], []
    with _Predictor(model, weights, engine, ways, profile) as predict:
        for rows in rechunk(_good(source, tally, limit), _BATCH):
            batch, clicks_B = assemble(rows, model, maps, tally)
            assert clicks_B is not None
            scores.append(predict(batch))
            labels.append(clicks_B)
            if progress:
                progress("evaluating", tally.samples, limit)
    found = metrics.quality(_joined(scores), _joined(labels), resamples=resamples)
    unseen = dict(tally.unseen)
    return Evaluated(model.name, data, engine, model.nbytes, tally.skipped, tally.first_bad, unseen, found, precision)


def _check_precision(model: Model, engine: Engine, precision: DecoderPrecision, serving: Sequence[Serving]) -> None:
    asked = f"rows in {precision} were asked for"
    if engine == "torch":
        raise InputError("evaluate", f"{asked}; the module computes in fp32", "Leave out --engine torch.")
    if serving:
        raise InputError("evaluate", f"{asked} beside how tables are served", "Say it in each Serving.")
    if not any(isinstance(table.computed, Dhe) for table in model.tables):
        raise InputError("evaluate", f"{asked}; model '{model.name}' has no DHE", "Leave out --precision.")


class _Predictor:
    """Batches to click probabilities [B], while its `with` block lasts."""

    def __init__(
        self,
        model: Model,
        weights: Weights,
        engine: Engine,
        serving: Sequence[Serving],
        profile: Mapping[str, NDArray[np.int64]] | None,
    ) -> None:
        self._model, self._weights, self._engine = model, weights, engine
        self._serving = serving
        self._options: dict[str, Any] = {} if profile is None else {"profile": profile}

    def __enter__(self) -> Callable[[Batch], NDArray[np.float32]]:
        if self._engine == "torch":
            from recsmith.training.module import TrainedDlrm, probabilities

            module = TrainedDlrm(self._model, self._weights, codes_bytes=0).eval()
            return lambda batch: probabilities(module, batch)
        here = platform("cpu")
        made = plan(self._model, here, Workload.uniform(self._model, _BATCH), serving=self._serving)
        self._running = compile(self._model, made, self._weights, platform=here, **self._options)
        return lambda batch: self._running.run(batch).values

    def __exit__(self, *_: object) -> None:
        if self._engine == "recsmith":
            self._running.close()


def _good(source: sources.Source, tally: Tally, limit: int) -> Iterator[Rows]:
    before = 0
    for block in source.read(tally):
        rows, _ = with_labels(block, before, tally)
        before += len(block)
        if len(rows):
            yield rows.part(0, limit - before + len(block)) if 0 < limit < before else rows
        if 0 < limit <= before:
            return


def _joined(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
