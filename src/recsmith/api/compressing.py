"""The best quality inside a number of bytes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from recsmith.importers import artifact
from recsmith.representations import hold
from recsmith.representations.budget import fitting
from recsmith.spec import CapacityError, Progress, Record, RowDtype, Rows
from recsmith.training.metrics import Quality

from .candidates import Candidate, Held, Original, dense_bytes, opened, weigh
from .converter import STEPS
from .training import MODEL_FOLDER

if TYPE_CHECKING:
    from recsmith.training.report import Report

_FEWER_BITS: tuple[RowDtype, ...] = ("bf16", "int8", "int4")


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
    samples: str | Path | None = None,
    seconds: float = math.inf,
    resamples: int = 200,
    steps: int = STEPS,
    told: Callable[[Report], None] | None = None,
    progress: Progress | None = None,
) -> Compressed:
    """Try the model of a training folder with rows of fewer bits, and with its heaviest tables as DHE, as
    quotient-remainder or as mixed-dimension rows, each as large as fits, once converted without training and once
    trained anew; write the best to `output`/model.

    Resumable: training goes on where it stopped.

    Args:
        directory: written by `train`, with plain tables.
        data: what it was trained on.
        samples: folder of the prepared samples, when `train` was told to keep them elsewhere.
        seconds: of training, then stop with a checkpoint.
        steps: updates of each DHE that is distilled.

    Raises:
        CapacityError: nothing fits.
        FormatError: the folder is no training folder, was trained on other data, or holds no plain tables.
    """
    place = None if samples is None else Path(samples)
    trial = _Trial(Original.open(Path(directory), data, "compress", resamples, place), memory_bytes)
    for dtype in _FEWER_BITS:
        trial.round_rows(dtype, progress)
    target = Path(output)
    trial.convert(target, steps, progress)
    finished = trial.train_anew(target, seconds, told, progress)
    chosen = trial.best() if finished else None
    if chosen is not None:
        best = trial.made[chosen]
        artifact.save(best.model, best.weights, target / MODEL_FOLDER, progress)
    return trial.outcome(target, chosen)


class _Trial:
    """What was made of the original so far."""

    def __init__(self, original: Original, memory_bytes: int) -> None:
        self._original, self._memory_bytes = original, memory_bytes
        self._found: list[Candidate] = []
        plain = original.held.model
        self._choices = fitting(plain, memory_bytes - dense_bytes(plain))
        self.made: dict[str, Held] = {}

    def round_rows(self, dtype: RowDtype, progress: Progress | None) -> None:
        """Try rows of `dtype`."""
        nbytes = weigh(hold(self._original.held.model, None, Rows(dtype)))
        if nbytes > self._memory_bytes:
            self._found.append(Candidate(dtype, nbytes, why_not=f"{nbytes:,} bytes; {self._memory_bytes:,} allowed"))
        else:
            self._add(dtype, self._original.rounded(dtype, progress))

    def convert(self, folder: Path, steps: int, progress: Progress | None) -> None:
        """Try other representations of the heaviest tables, as near the rows there are as they come."""
        for name, choice in self._choices.items():
            label = f"{name}, converted"
            own = folder / f"{name}-converted"
            self._add(label, self._original.converted(choice, own, steps=steps, progress=progress))

    def train_anew(
        self, folder: Path, seconds: float, told: Callable[[Report], None] | None, progress: Progress | None
    ) -> bool:
        """Try other representations of the heaviest tables; whether there is no more to do."""
        plain, until = self._original.held.model, time.monotonic() + seconds
        unfinished = False
        for name, choice in self._choices.items():
            left_s = max(0.0, until - time.monotonic())
            run = self._original.trained(choice, folder / name, seconds=left_s, told=told, progress=progress)
            if run.quality is not None:
                self._add(name, opened(folder / name))
                continue
            unfinished = True
            rest = f"{run.steps:,} of {run.total_steps:,} updates; run again to go on"
            self._found.append(Candidate(name, weigh(hold(plain, None, choice)), why_not=rest))
        return not unfinished

    def best(self) -> str:
        """The candidate with the least logloss.

        Raises:
            CapacityError: nothing fits.
        """
        tried = {each.name: each.quality for each in self._found if each.quality is not None}
        if not tried:
            reasons = "; ".join(f"{each.name}: {each.why_not}" for each in self._found)
            raise CapacityError("compress", f"nothing fits: {reasons}", "Allow more memory.")
        return min(tried, key=lambda name: tried[name].logloss.value)

    def outcome(self, target: Path, chosen: str | None) -> Compressed:
        """What is told."""
        held = self._original.held
        nbytes, quality = weigh(held.model), self._original.quality(held)
        return Compressed(str(target), self._memory_bytes, nbytes, quality, tuple(self._found), chosen)

    def _add(self, name: str, held: Held) -> None:
        self._found.append(self._original.candidate(name, held))
        self.made[name] = held
