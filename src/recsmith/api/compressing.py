"""The best quality inside a number of bytes."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from recsmith.importers import artifact
from recsmith.representations import hold
from recsmith.representations.budget import KINDS, Kind, fitting
from recsmith.representations.keeping import kept_in
from recsmith.spec import CapacityError, Progress, Record, RowDtype, Select, UnknownNameError
from recsmith.training.metrics import Quality

from .candidates import Candidate, Held, Original, opened, slug
from .converter import STEPS
from .weighing import dense_bytes, served_bytes, smallest, weigh

if TYPE_CHECKING:
    from recsmith.training.report import Report

_ROWS: tuple[RowDtype, ...] = ("bf16", "int8", "int4")
_MOST_BITS_FIRST: tuple[RowDtype, ...] = ("fp32", *_ROWS)
_CONVERTED = "converted:"
# What takes no training first.
CANDIDATES = (*_ROWS, *(f"{_CONVERTED}{kind}@int8" for kind in KINDS), *(f"{kind}@int8" for kind in KINDS))


class Compressed(Record, frozen=True):
    """What compression found.

    Attributes:
        deciding: samples held back by which one was chosen; qualities are told on the others.
        chosen: name of the candidate with the least logloss among those that fit; None while training goes on.
    """

    folder: str
    memory_bytes: int
    original_bytes: int
    original: Quality
    deciding: int
    candidates: tuple[Candidate, ...]
    chosen: str | None


def compress(
    directory: str | Path,
    memory_bytes: int,
    data: str,
    output: str | Path,
    *,
    candidates: Sequence[str] = CANDIDATES,
    trained: Sequence[str | Path] = (),
    deciding: float = 0.5,
    samples: str | Path | None = None,
    seconds: float = math.inf,
    resamples: int = 200,
    steps: int = STEPS,
    restart: bool = False,
    told: Callable[[str, Report], None] | None = None,
    progress: Progress | None = None,
) -> Compressed:
    """Try the model of a training folder in other ways and write the best that fits to `output`/model.

    Resumable: training goes on where it stopped.

    Args:
        directory: written by `train`, with plain tables.
        memory_bytes: for embeddings and MLPs as they are kept.
        data: what it was trained on.
        candidates: `bf16`, `int8`, `int4`: all rows in that format. `KIND@FORMAT`: computed rows of a kind on
            `representations.budget.KINDS`, as large as fits when the rest is kept in the format, trained anew and
            then kept so. `converted:KIND@FORMAT`: the same, but taught the rows there are instead of trained.
        trained: folders that `train` wrote for the same samples, in any representation; each is kept in the format
            of most bits that fits.
        deciding: part of the samples held back, the first of them, by whose logloss one is chosen; the qualities
            that are told are those of the others.
        samples: folder of the prepared samples, when `train` was told to keep them elsewhere.
        seconds: of training, then stop with a checkpoint.
        steps: updates of each DHE that is distilled.
        restart: forget an earlier compression in `output`.
        told: what a candidate's training reports, with its name.

    Raises:
        CapacityError: nothing fits.
        FormatError: a folder is no training folder, was trained on other data, or the first holds no plain tables.
        InputError: too few samples are held back.
        UnknownNameError: there is no such candidate.
    """
    named = {name: _parse(name) for name in candidates}
    place = None if samples is None else Path(samples)
    original = Original.open(Path(directory), data, "compress", resamples, place, deciding=deciding)
    mlps = dense_bytes(original.held.model)
    if mlps >= memory_bytes:
        problem = f"the MLPs alone weigh {mlps:,} bytes, and no candidate changes them; {memory_bytes:,} allowed"
        raise CapacityError("compress", problem, "Allow more memory, or train a model with narrower layers.")
    target = Path(output)
    if restart:
        shutil.rmtree(target, ignore_errors=True)
    trial = _Trial(original, memory_bytes, target, steps, time.monotonic() + seconds, told, progress)
    for folder in trained:
        trial.elsewhere(Path(folder))
    for name, asked in named.items():
        trial.make(name, asked)
    chosen = trial.best() if trial.finished else None
    if chosen is not None:
        best = trial.made[chosen]
        artifact.save(best.model, best.weights, target / artifact.MODEL_FOLDER, progress)
    return trial.outcome(chosen)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a candidate's name says; no kind: stored rows."""

    kind: Kind | None
    dtype: RowDtype
    converted: bool = False


class _Trial:
    """What was made of the original so far.

    Attributes:
        made: what fits, by name.
        finished: whether there is no more to train.
    """

    def __init__(
        self,
        original: Original,
        memory_bytes: int,
        target: Path,
        steps: int,
        until: float,
        told: Callable[[str, Report], None] | None,
        progress: Progress | None,
    ) -> None:
        self._original, self._memory_bytes, self._target = original, memory_bytes, target
        self._steps, self._until, self._told, self._progress = steps, until, told, progress
        self._found: list[Candidate] = []
        self.made: dict[str, Held] = {}
        self.finished = True

    def elsewhere(self, folder: Path) -> None:
        """Try what was trained in `folder`, in as many bits as fit."""
        held = self._original.elsewhere(folder, "compress")
        for dtype in _MOST_BITS_FIRST:
            name = f"{folder}@{dtype}"
            if self._add(name, held, dtype, self._target / "elsewhere" / slug(str(folder))):
                return

    def make(self, name: str, asked: _Asked) -> None:
        """Try a candidate."""
        own = self._target / slug(name.partition("@")[0])
        if asked.kind is None:
            self._add(name, self._original.held, asked.dtype, own)
            return
        plain = self._original.held.model
        try:
            choice = fitting(plain, self._memory_bytes - dense_bytes(plain), asked.kind, asked.dtype)
        except CapacityError as error:
            self._found.append(Candidate(name, 0, why_not=error.problem))
            return
        if not choice.features:
            why_not = f"no table has to be computed: rows of {asked.dtype} fit"
            self._found.append(Candidate(name, 0, why_not=why_not))
            return
        folder = own / hold(plain, None, choice).digest()
        if asked.converted:
            held = self._original.converted(choice, folder, steps=self._steps, progress=self._progress)
            self._add(name, held, asked.dtype, folder)
        else:
            self._train(name, choice, asked.dtype, folder)

    def best(self) -> str:
        """The candidate with the least logloss where that decides.

        Raises:
            CapacityError: nothing fits.
        """
        tried = {each.name: each.deciding_logloss for each in self._found if each.quality is not None}
        if not tried:
            reasons = "; ".join(f"{each.name}: {each.why_not}" for each in self._found)
            raise CapacityError("compress", f"nothing fits: {reasons}", "Allow more memory.")
        return min(tried, key=lambda name: cast(float, tried[name]))

    def outcome(self, chosen: str | None) -> Compressed:
        """What is told."""
        held, deciding = self._original.held, self._original.deciding
        nbytes, quality = weigh(held.model), self._original.quality(held)
        target, found = str(self._target), tuple(self._found)
        return Compressed(target, self._memory_bytes, nbytes, quality, deciding, found, chosen)

    def _train(self, name: str, choice: Select, dtype: RowDtype, folder: Path) -> None:
        left_s = max(0.0, self._until - time.monotonic())
        told = None if self._told is None else partial(self._told, name)
        run = self._original.trained(choice, folder, seconds=left_s, told=told, progress=self._progress)
        if run.quality is not None:
            self._add(name, opened(folder), dtype, folder)
            return
        self.finished = False
        small = kept_in(hold(self._original.held.model, None, choice), dtype)
        rest = f"{run.steps:,} of {run.total_steps:,} updates; run again to go on"
        self._found.append(Candidate(name, weigh(small), served_bytes(small, smallest(small)), why_not=rest))

    def _add(self, name: str, held: Held, dtype: RowDtype, folder: Path) -> bool:
        """Try `held` kept in `dtype`; whether that fits."""
        small = kept_in(held.model, dtype)
        nbytes = weigh(small)
        if nbytes > self._memory_bytes:
            why_not = f"{nbytes:,} bytes; {self._memory_bytes:,} allowed"
            self._found.append(Candidate(name, nbytes, served_bytes(small, smallest(small)), why_not=why_not))
            return False
        self.made[name] = self._original.held_as(held, small, folder / dtype, self._progress)
        self._found.append(self._original.candidate(name, self.made[name]))
        return True


def _parse(name: str) -> _Asked:
    rest = name.removeprefix(_CONVERTED)
    kind, _, dtype = rest.partition("@")
    if name in get_args(RowDtype):
        return _Asked(None, cast(RowDtype, name))
    if kind not in KINDS or dtype not in get_args(RowDtype):
        formats = ", ".join(get_args(RowDtype))
        raise UnknownNameError(
            "compress",
            f"there is no candidate '{name}'",
            f"Write {formats}; or KIND@FORMAT or {_CONVERTED}KIND@FORMAT, kinds being {', '.join(KINDS)}.",
        )
    return _Asked(kind, cast(RowDtype, dtype), name != rest)
