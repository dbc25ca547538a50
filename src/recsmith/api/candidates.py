"""Other ways to hold a model that was trained with plain tables: rows rounded, or tables trained anew."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recsmith.data.asked import recorded
from recsmith.data.store import Store
from recsmith.importers import artifact
from recsmith.reference.rows import decode, encode
from recsmith.representations import hold
from recsmith.spec import Choice, FormatError, Model, Progress, Record, RowDtype, Rows, Weights
from recsmith.training import metrics
from recsmith.training.metrics import Figure, Quality

from .compose import load
from .converter import STEPS, Converter
from .training import MODEL_FOLDER, SCORES_FILE, TrainSummary, train

if TYPE_CHECKING:
    from recsmith.training.checkpoint import Run
    from recsmith.training.report import Report


_FLOAT_BYTES = 4


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


class Conversion(Record, frozen=True):
    """What a folder holds the conversion of: only the same is taken from it again.

    Attributes:
        original, held: digests of the model as it was and as it is held then.
        steps: updates of each DHE.
    """

    original: str
    held: str
    steps: int


@dataclass(frozen=True, slots=True)
class Held:
    """A model held in some way, and its predictions [S] for the samples held back."""

    model: Model
    weights: Weights
    scores_S: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Original:
    """A finished training with plain tables.

    Attributes:
        samples: folder of the prepared samples.
        run: how it was trained, which is how others are.
        resamples: for the bootstrap intervals.
    """

    folder: Path
    samples: Path
    data: str
    held: Held
    kept: Store
    run: Run
    resamples: int

    @classmethod
    def open(cls, folder: Path, data: str, operation: str, resamples: int, samples: Path | None = None) -> Original:
        """The training in `folder`, for `operation`; its samples are there too where `samples` is None.

        Raises:
            FormatError: it is not finished, was not on `data`, or holds no plain fp32 tables.
        """
        from recsmith.training.checkpoint import RUN_FILE, Run

        if not (folder / SCORES_FILE).is_file():
            raise FormatError(operation, f"'{folder}' is no finished training", "Make one with 'recsmith train'.")
        model, weights = load(folder / MODEL_FOLDER)
        place = samples or folder / "samples"
        kept = Store.open(place)
        if kept.facts.source != data:
            raise FormatError(operation, f"'{folder}' was trained on {kept.facts.source}, not {data}", "Give the same.")
        if model.computes or any(table.format.dtype != "fp32" for table in model.tables):
            raise FormatError(operation, f"'{folder}' holds no plain fp32 tables", "Train with --representation table.")
        held = Held(model, weights, np.load(folder / SCORES_FILE))
        return cls(folder, place, data, held, kept, Run.open(folder / RUN_FILE), resamples)

    def quality(self, held: Held) -> Quality:
        """How well it predicts the samples held back."""
        return metrics.quality(held.scores_S, self._labels_S, resamples=self.resamples)

    def candidate(self, name: str, held: Held) -> Candidate:
        """`held` by its figures."""
        resamples = max(self.resamples, 2)
        ours_S, theirs_S = held.scores_S, self.held.scores_S
        gap = metrics.paired(ours_S, theirs_S, self._labels_S, metrics.correct, resamples=resamples)
        return Candidate(name, weigh(held.model), self.quality(held), gap)

    def rounded(self, dtype: RowDtype, progress: Progress | None = None) -> Held:
        """The model with rows of `dtype`."""
        model, weights = self.held.model, self.held.weights
        small = hold(model, None, Rows(dtype))
        rows = {t.name: encode(np.asarray(weights.tables[t.name], np.float32), t.format) for t in small.tables}
        seen = {t.name: decode(rows[t.name], t).astype(np.float32) for t in small.tables}
        scores_S = _predicted(model, _with_rows(weights, seen), self.kept, progress)
        return Held(small, _with_rows(weights, rows), scores_S)

    def converted(
        self,
        choice: Choice | str | Callable[[Model], Choice],
        folder: Path,
        *,
        steps: int = STEPS,
        progress: Progress | None = None,
    ) -> Held:
        """The model held as `choice` says without training: each DHE is taught its table's rows, as often as training
        asked for them; other rows come as near as a formula brings them. Kept in `folder`.

        Raises:
            FormatError, PlanError, UnknownNameError: as `convert`; or `folder` holds another conversion.
        """
        model, weights = self.held.model, self.held.weights
        settings = choice(model) if callable(choice) else choice
        asked = Conversion(model.digest(), hold(model, None, settings).digest(), steps)
        asked.claim(folder / "conversion.json", "convert", "a conversion")
        if (folder / SCORES_FILE).is_file():
            return opened(folder)
        converter = Converter(model, weights, recorded(model, self.kept), steps=steps, progress=progress)
        made, arrays = converter.convert(settings, [feature.name for feature in model.features])
        scores_S = _predicted(made, arrays, self.kept, progress)
        artifact.save(made, arrays, folder / MODEL_FOLDER, progress)
        np.save(folder / SCORES_FILE, scores_S)
        return Held(made, arrays, scores_S)

    def trained(
        self,
        choice: Choice | str | Callable[[Model], Choice],
        target: Path,
        *,
        seconds: float = math.inf,
        told: Callable[[Report], None] | None = None,
        progress: Progress | None = None,
    ) -> TrainSummary:
        """Train `choice` in `target` as the original was trained; its quality is None while there is more to do."""
        facts = self.kept.facts
        return train(
            self.data,
            target,
            choice,
            recipe=self.run.recipe,
            holdout=facts.holdout,
            modulo=facts.modulo,
            bad_rows=facts.policy,
            samples=self.samples,
            threads=self.run.threads,
            seconds=seconds,
            resamples=0,
            told=told,
            progress=progress,
        )

    @property
    def _labels_S(self) -> NDArray[np.float32]:
        return np.asarray(self.kept.labels[self.kept.facts.training :])


def opened(folder: Path) -> Held:
    """What a finished training in `folder` came to."""
    return Held(*load(folder / MODEL_FOLDER), np.load(folder / SCORES_FILE))


def weigh(model: Model) -> int:
    """Bytes of embeddings and MLPs."""
    return model.nbytes + dense_bytes(model)


def dense_bytes(model: Model) -> int:
    """Bytes of the MLPs."""
    parts = [part.widths for part in (model.bottom, model.top) if part is not None]
    return _FLOAT_BYTES * sum(wide * out + out for widths in parts for wide, out in pairwise(widths))


def _predicted(plain: Model, weights: Weights, kept: Store, progress: Progress | None) -> NDArray[np.float32]:
    from recsmith.training.loop import predict
    from recsmith.training.module import TrainedDlrm

    return predict(TrainedDlrm(plain, weights), kept, kept.facts.training, kept.facts.samples, progress)


def _with_rows(weights: Weights, rows: Mapping[str, NDArray[np.generic]]) -> Weights:
    return Weights(rows, weights.dense, weights.files, weights.parameters)
