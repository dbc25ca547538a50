"""Other ways to hold a model that was trained with plain tables: kept in fewer bits, converted, or trained anew."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from recsmith.data.asked import recorded
from recsmith.data.store import Store
from recsmith.importers import artifact
from recsmith.representations import hold
from recsmith.representations.keeping import kept_in
from recsmith.spec import (
    Choice,
    FormatError,
    InputError,
    Model,
    Progress,
    Record,
    RowDtype,
    RowFormat,
    Weights,
)
from recsmith.training import metrics
from recsmith.training.metrics import Figure, Quality

from .compose import load
from .converter import STEPS, Converter
from .training import SCORES_FILE, SUMMARY_FILE, TrainSummary, train
from .weighing import served_bytes, smallest, weigh

if TYPE_CHECKING:
    from recsmith.training.checkpoint import Run
    from recsmith.training.report import Report

AnyChoice = Choice | str | Callable[[Model], Choice]


@dataclass(frozen=True, slots=True)
class Making:
    """How a candidate is made of a model with plain tables.

    Attributes:
        choice: how all features are held: a name, settings, or a function of the model.
        converted: without training; otherwise it is trained as the model was.
        dtype: number format of rows and decoders afterwards, see `representations.keeping`; None: as trained.
    """

    choice: AnyChoice
    converted: bool = False
    dtype: RowDtype | None = None

    def held(self, plain: Model) -> Model:
        """`plain` as it is trained or converted to."""
        return hold(plain, None, self.choice(plain) if callable(self.choice) else self.choice)

    def of(self, plain: Model) -> Model:
        """`plain` as the candidate holds it."""
        held = self.held(plain)
        return held if self.dtype is None else kept_in(held, self.dtype)


class Candidate(Record, frozen=True):
    """One way to hold the model.

    Attributes:
        nbytes: of embeddings and dense parts, as they are kept.
        served_bytes: the same in memory, at least: decoders are float32 again when rows are computed.
        quality: on the samples held back, without those that decide; None when it was not tried.
        accuracy_gained: accuracy less that of the model as it was, with a paired interval.
        deciding_logloss: on the samples that decide; None when there are none, or it was not tried.
        why_not: the reason why it was not tried.
    """

    name: str
    nbytes: int
    served_bytes: int = 0
    quality: Quality | None = None
    accuracy_gained: Figure | None = None
    deciding_logloss: float | None = None
    why_not: str = ""


class Conversion(Record, frozen=True):
    """What a folder holds the conversion of: only the same is taken from it again.

    Attributes:
        original, held: digests of the model as it was and as it is held then.
        predictions: digest of the predictions of the model as it was.
        steps: updates of each DHE that was taught.
    """

    original: str
    predictions: str
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
        deciding: samples held back, the first of them, that decide between candidates and tell no quality.
    """

    folder: Path
    samples: Path
    data: str
    held: Held
    kept: Store
    run: Run
    resamples: int
    deciding: int = 0

    @classmethod
    def open(
        cls,
        folder: Path,
        data: str,
        operation: str,
        resamples: int,
        samples: Path | None = None,
        *,
        deciding: float = 0.0,
    ) -> Original:
        """The training in `folder`, for `operation`; its samples are there too where `samples` is None.

        Args:
            deciding: part of the samples held back.

        Raises:
            FormatError: it is not finished, was not on `data`, or holds no plain fp32 tables.
            InputError: too few samples are held back.
        """
        from recsmith.training.checkpoint import RUN_FILE, Run

        if not (folder / SCORES_FILE).is_file():
            raise FormatError(operation, f"'{folder}' is no finished training", "Make one with 'recsmith train'.")
        model, weights = load(folder)
        place = samples or folder / "samples"
        kept = Store.open(place)
        if kept.facts.source != data:
            raise FormatError(operation, f"'{folder}' was trained on {kept.facts.source}, not {data}", "Give the same.")
        if model.computes or any(table.format.dtype != "fp32" for table in model.tables):
            raise FormatError(operation, f"'{folder}' holds no plain fp32 tables", "Train with --representation table.")
        held = Held(model, weights, np.load(folder / SCORES_FILE))
        count = len(held.scores_S)
        first = round(deciding * count)
        if first >= count or (deciding and not first):
            raise InputError(
                operation,
                f"{count} samples are held back in '{folder}', too few to decide by some and tell by others",
                "Train with a larger --holdout.",
            )
        return cls(folder, place, data, held, kept, Run.open(folder / RUN_FILE), resamples, first)

    def quality(self, held: Held) -> Quality:
        """How well it predicts the samples held back that do not decide."""
        return metrics.quality(held.scores_S[self.deciding :], self._labels_S, resamples=self.resamples)

    def candidate(self, name: str, held: Held) -> Candidate:
        """`held` by its figures."""
        ours_S, theirs_S = held.scores_S[self.deciding :], self.held.scores_S[self.deciding :]
        resamples = max(self.resamples, 2)
        gap = metrics.paired(ours_S, theirs_S, self._labels_S, metrics.correct, resamples=resamples)
        model, deciding = held.model, self._deciding_logloss(held)
        return Candidate(name, weigh(model), served_bytes(model, smallest(model)), self.quality(held), gap, deciding)

    def held_as(self, held: Held, small: Model, folder: Path, progress: Progress | None = None) -> Held:
        """`held` as `small` holds it: finished rows and decoders in other formats. Kept in `folder`.

        Raises:
            FormatError: `folder` holds another conversion.
        """
        if small == held.model:
            return held

        def convert() -> tuple[Model, Weights]:
            return Converter(held.model, held.weights, progress=progress).towards(small)

        return self._once(held, small, 0, folder, convert, progress)

    def converted(
        self,
        choice: AnyChoice,
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

        def convert() -> tuple[Model, Weights]:
            converter = Converter(model, weights, recorded(model, self.kept), steps=steps, progress=progress)
            return converter.convert(settings, [feature.name for feature in model.features])

        return self._once(self.held, hold(model, None, settings), steps, folder, convert, progress)

    def trained(
        self,
        choice: AnyChoice,
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

    def elsewhere(self, folder: Path, operation: str) -> Held:
        """What another finished training on the same samples came to.

        Raises:
            FormatError: it is not finished, or was on other samples.
        """
        from recsmith.training.checkpoint import RUN_FILE, Run

        if not (folder / SUMMARY_FILE).is_file():
            raise FormatError(operation, f"'{folder}' is no finished training", "Make one with 'recsmith train'.")
        if Run.open(folder / RUN_FILE).data != self.run.data:
            raise FormatError(
                operation,
                f"'{folder}' was trained on other samples than '{self.folder}'",
                "Train both with the same --data, --holdout, --max-rows and --bad-rows.",
            )
        return opened(folder)

    def _once(
        self,
        before: Held,
        made: Model,
        steps: int,
        folder: Path,
        convert: Callable[[], tuple[Model, Weights]],
        progress: Progress | None,
    ) -> Held:
        """What `convert` makes of `before`, or made of it earlier, with its predictions."""
        predictions = hashlib.sha256(before.scores_S.tobytes()).hexdigest()[:16]
        asked = Conversion(before.model.digest(), predictions, made.digest(), steps)
        asked.claim(folder / "conversion.json", "convert", "a conversion")
        if not (folder / SCORES_FILE).is_file():
            model, weights = convert()
            scores_S = _predicted(model, weights, self.kept, progress)
            artifact.save(model, weights, folder / artifact.MODEL_FOLDER, progress)
            partial = folder / ("partial-" + SCORES_FILE)
            np.save(partial, scores_S)
            os.replace(partial, folder / SCORES_FILE)
        return opened(folder)

    def _deciding_logloss(self, held: Held) -> float | None:
        if not self.deciding:
            return None
        first = self.kept.facts.training
        labels_S = np.asarray(self.kept.labels[first : first + self.deciding])
        return float(metrics.losses(held.scores_S[: self.deciding], labels_S).mean())

    @property
    def _labels_S(self) -> NDArray[np.float32]:
        return np.asarray(self.kept.labels[self.kept.facts.training + self.deciding :])


def slug(name: str) -> str:
    """`name` as a folder may be called."""
    return re.sub(r"[^\w.@+-]+", "-", name)


def opened(folder: Path) -> Held:
    """What a finished training, or a conversion, in `folder` came to."""
    return Held(*load(folder), np.load(folder / SCORES_FILE))


def _predicted(model: Model, weights: Weights, kept: Store, progress: Progress | None) -> NDArray[np.float32]:
    """[S] for the samples held back, by rows that are finished first: there are fewer of them than look-ups."""
    from recsmith.executor.finished import finished_rows
    from recsmith.training.loop import predict
    from recsmith.training.module import TrainedDlrm

    rows = {table.name: finished_rows(table, weights, progress) for table in model.tables}
    plain = replace(model, tables=tuple(replace(t, format=RowFormat(), computed=None) for t in model.tables))
    module = TrainedDlrm(plain, Weights(rows, weights.dense, weights.files))
    return predict(module, kept, kept.facts.training, kept.facts.samples, progress)
