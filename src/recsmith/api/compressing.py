"""The best quality inside a number of bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recsmith.data.store import Store
from recsmith.importers import artifact
from recsmith.reference.rows import decode, encode
from recsmith.representations import hold
from recsmith.representations.budget import within
from recsmith.spec import CapacityError, FormatError, Model, Progress, Record, RowDtype, Rows, Weights
from recsmith.training import metrics
from recsmith.training.metrics import Figure, Quality

from .compose import load
from .training import MODEL_FOLDER, SCORES_FILE, train

if TYPE_CHECKING:
    from recsmith.training.checkpoint import Run
    from recsmith.training.report import Report

_FEWER_BITS: tuple[RowDtype, ...] = ("bf16", "int8", "int4")


class Candidate(Record, frozen=True):
    """One way to hold the model.

    Attributes:
        nbytes: of embeddings and dense parts.
        quality: on the samples held back; None when it was not tried.
        accuracy_gained: accuracy less that of the model as it was, with a paired interval.
        why_not: the reason why it was not tried.
    """

    name: str
    nbytes: int
    quality: Quality | None = None
    accuracy_gained: Figure | None = None
    why_not: str = ""


class Compressed(Record, frozen=True):
    """What compression found.

    Attributes:
        chosen: name of the candidate with the least logloss among those that fit; None while training goes on.
    """

    folder: str
    memory_bytes: int
    original_bytes: int
    original: Quality
    candidates: tuple[Candidate, ...]
    chosen: str | None


def compress(
    directory: str | Path,
    memory_bytes: int,
    data: str,
    output: str | Path,
    *,
    seconds: float = math.inf,
    resamples: int = 200,
    told: Callable[[Report], None] | None = None,
    progress: Progress | None = None,
) -> Compressed:
    """Try the model of a training folder with rows of fewer bits, and with DHE for its heaviest tables, trained anew;
    write the best that fits to `output`/model.

    Resumable: training goes on where it stopped.

    Args:
        directory: written by `train`, with plain tables.
        data: what it was trained on.
        seconds: of training, then stop with a checkpoint.

    Raises:
        CapacityError: nothing fits.
        FormatError: the folder is no training folder, was trained on other data, or holds no plain tables.
    """
    source, target = Path(directory), Path(output)
    trial = _Trial(*_opened(source, data), memory_bytes, source, resamples)
    for dtype in _FEWER_BITS:
        trial.round_rows(dtype, progress)
    try:
        choice = within(trial.model, memory_bytes - trial.dense_bytes)
    except CapacityError as error:
        trial.found.append(Candidate("select", 0, why_not=error.problem))
    else:
        facts = trial.kept.facts
        run = train(
            data,
            target / "select",
            choice,
            recipe=_run(source).recipe,
            holdout=facts.holdout,
            modulo=facts.modulo,
            bad_rows=facts.policy,
            samples=source / "samples",
            threads=_run(source).threads,
            seconds=seconds,
            resamples=0,
            told=told,
            progress=progress,
        )
        if run.quality is None:
            rest = f"{run.steps:,} of {run.total_steps:,} updates; run again to go on"
            trial.found.append(Candidate("select", run.table_bytes + trial.dense_bytes, why_not=rest))
            return trial.outcome(target, None)
        held = load(target / "select" / MODEL_FOLDER)
        trial.judge("select", held, np.load(target / "select" / SCORES_FILE))
    chosen = trial.best()
    artifact.save(*trial.made[chosen], target / MODEL_FOLDER, progress)
    return trial.outcome(target, chosen)


class _Trial:
    """The model as it was, and what was made of it so far."""

    def __init__(
        self, model: Model, weights: Weights, kept: Store, memory_bytes: int, source: Path, resamples: int
    ) -> None:
        self.model, self.weights, self.kept = model, weights, kept
        self.memory_bytes, self.resamples = memory_bytes, resamples
        self.dense_bytes = sum(array.nbytes for array in weights.dense.values())
        self.scores = np.load(source / SCORES_FILE)
        self.labels = np.asarray(kept.labels[kept.facts.training :])
        self.found: list[Candidate] = []
        self.made: dict[str, tuple[Model, Weights]] = {}

    def round_rows(self, dtype: RowDtype, progress: Progress | None) -> None:
        """Try rows of `dtype`."""
        small = hold(self.model, None, Rows(dtype))
        nbytes = small.nbytes + self.dense_bytes
        if nbytes > self.memory_bytes:
            why_not = f"{nbytes:,} bytes; {self.memory_bytes:,} allowed"
            self.found.append(Candidate(dtype, nbytes, why_not=why_not))
            return
        rows = {t.name: encode(np.asarray(self.weights.tables[t.name], np.float32), t.format) for t in small.tables}
        held = small, _with_rows(self.weights, rows)
        self.judge(dtype, held, _predicted(self.model, held, self.kept, progress))

    def judge(self, name: str, held: tuple[Model, Weights], scores_S: NDArray[np.float32]) -> None:
        """Count a candidate with its held-back probabilities."""
        gap = metrics.paired(scores_S, self.scores, self.labels, metrics.correct, resamples=max(self.resamples, 2))
        found = metrics.quality(scores_S, self.labels, resamples=self.resamples)
        self.found.append(Candidate(name, held[0].nbytes + self.dense_bytes, found, gap))
        self.made[name] = held

    def best(self) -> str:
        """The candidate with the least logloss."""
        if not self.made:
            reasons = "; ".join(f"{each.name}: {each.why_not}" for each in self.found)
            raise CapacityError("compress", f"nothing fits: {reasons}", "Allow more memory.")
        return min((each for each in self.found if each.quality is not None), key=_logloss).name

    def outcome(self, target: Path, chosen: str | None) -> Compressed:
        """What is told."""
        original = metrics.quality(self.scores, self.labels, resamples=self.resamples)
        nbytes = self.model.nbytes + self.dense_bytes
        return Compressed(str(target), self.memory_bytes, nbytes, original, tuple(self.found), chosen)


def _opened(source: Path, data: str) -> tuple[Model, Weights, Store]:
    if not (source / SCORES_FILE).is_file():
        raise FormatError("compress", f"'{source}' is no finished training", "Make one with 'recsmith train'.")
    model, weights = load(source / MODEL_FOLDER)
    kept = Store.open(source / "samples")
    if kept.facts.source != data:
        raise FormatError("compress", f"'{source}' was trained on {kept.facts.source}, not {data}", "Give the same.")
    if model.computes or any(table.format.dtype != "fp32" for table in model.tables):
        raise FormatError("compress", f"'{source}' holds no plain fp32 tables", "Train with --representation table.")
    return model, weights, kept


def _run(source: Path) -> Run:
    from recsmith.training.checkpoint import RUN_FILE, Run

    return Run.open(source / RUN_FILE)


def _predicted(
    plain: Model, held: tuple[Model, Weights], kept: Store, progress: Progress | None
) -> NDArray[np.float32]:
    """Held-back probabilities with the rows as they are after rounding."""
    from recsmith.training.loop import predict
    from recsmith.training.module import TrainedDlrm

    small, weights = held
    rounded = {t.name: decode(weights.tables[t.name], t).astype(np.float32) for t in small.tables}
    module = TrainedDlrm(plain, _with_rows(weights, rounded))
    return predict(module, kept, kept.facts.training, kept.facts.samples, progress)


def _with_rows(weights: Weights, rows: Mapping[str, NDArray[np.generic]]) -> Weights:
    return Weights(rows, weights.dense, weights.files, weights.parameters)


def _logloss(candidate: Candidate) -> float:
    assert candidate.quality is not None
    return candidate.quality.logloss.value
