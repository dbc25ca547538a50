"""From data to a trained model in any representation."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from recsmith.data import sources
from recsmith.data.readers import BadRows, Tally
from recsmith.data.store import Store, store
from recsmith.importers import artifact
from recsmith.representations import build, hold
from recsmith.spec import Choice, Dhe, Model, PlanError, Progress, Record, Table
from recsmith.training import metrics
from recsmith.training.metrics import Quality
from recsmith.training.recipe import RECIPES, USUAL, Recipe, untrained, vocabulary_file
from recsmith.training.report import Report

if TYPE_CHECKING:
    from recsmith.training.checkpoint import State
    from recsmith.training.module import TrainedDlrm

SCORES_FILE = "held_back.npy"
SUMMARY_FILE = "summary.json"


class TrainSummary(Record, frozen=True):
    """What training did.

    Attributes:
        steps, total_steps: updates done, and wanted; fewer when time ran out.
        samples: for training; `held_back` are kept for the quality.
        bad_rows: rows left out; `bad_labels` of them because their label is neither 0 nor 1.
        unseen: feature to ids of held-back samples that training never saw.
        table_bytes: of all embeddings as they are held.
        quality: on the samples held back; None when unfinished.
        curve: the reports on the way.
    """

    folder: str
    steps: int
    total_steps: int
    samples: int
    held_back: int
    bad_rows: int
    bad_labels: int
    first_bad: str
    unseen: dict[str, int]
    table_bytes: int
    quality: Quality | None = None
    curve: tuple[Report, ...] = ()


def train(
    data: str,
    folder: str | Path,
    representation: Choice | str | Callable[[Model], Choice] = "table",
    *,
    recipe: Recipe | None = None,
    holdout: float = 0.1,
    modulo: int = 0,
    bad_rows: BadRows = "error",
    samples: str | Path | None = None,
    threads: int | None = None,
    seconds: float = math.inf,
    checkpoint_s: float = 30.0,
    report_steps: int = 1000,
    codes_bytes: int = 1 << 30,
    resamples: int = 200,
    restart: bool = False,
    told: Callable[[Report], None] | None = None,
    progress: Progress | None = None,
) -> TrainSummary:
    """Train a DLRM on `data`; called again with the same settings it goes on where it stopped, with the same result.

    Args:
        data: `criteo:PATH`, `avazu:PATH`, `movielens:PATH` or `synthetic:...`; see `data.sources`.
        representation: how all features are held: a name, settings, or a function of the model with plain tables.
        recipe: widths, rate, batch, passes, seed; the usual one for this kind of data when None.
        holdout: the last part of the samples, kept for evaluation.
        modulo: see `data.store.store`.
        samples: folder of the prepared samples, shared by runs on the same data; inside `folder` when None.
        seconds: of training, then stop with a checkpoint.
        restart: forget an earlier run in `folder`.

    Raises:
        FormatError: the data cannot be read, or `folder` holds another run.
        PlanError: rows or decoders are not to be float32.
        InputError: a row is bad and bad rows are errors.
        UnavailableError: torch is not installed.
    """
    import torch

    from recsmith.training import checkpoint, loop
    from recsmith.training.module import TrainedDlrm, start

    target = Path(folder)
    if restart:
        shutil.rmtree(target, ignore_errors=True)
    source = sources.parse(data)
    how = recipe or RECIPES[USUAL[source.kind]]
    place, tally = Path(samples or target / "samples"), Tally(bad_rows)
    kept = store(source, place, holdout=holdout, modulo=modulo, tally=tally, progress=progress)
    model = _held(kept, how, source.kind, representation)
    _check_single(model)
    torch.set_num_threads(threads or torch.get_num_threads())
    run = checkpoint.Run(how, model.digest(), kept.facts.fingerprint, torch.get_num_threads(), str(torch.__version__))
    run.claim(target / checkpoint.RUN_FILE, "train", "a run")
    if (target / SUMMARY_FILE).is_file():
        return TrainSummary.open(target / SUMMARY_FILE)
    arrays = {table.name: _first(table, 1000 * how.seed + at, how) for at, table in enumerate(model.tables)}
    module = TrainedDlrm(model, start(model, how.seed, arrays), codes_bytes=codes_bytes)
    state = loop.train(
        module,
        kept,
        how,
        target,
        checkpoint_s=checkpoint_s,
        report_steps=report_steps,
        seconds=seconds,
        told=told,
        progress=progress,
    )
    total = loop.steps(kept.facts.training, how)
    if state.step < total:
        return _summary(target, kept, model, state, total, None)
    quality = _evaluate(module, kept, target, resamples, progress)
    artifact.save(model, module.weights(_vocabularies(kept)), target / artifact.MODEL_FOLDER, progress)
    found = _summary(target, kept, model, state, total, quality)
    found.save(target / SUMMARY_FILE)
    return found


def _held(kept: Store, how: Recipe, name: str, representation: Choice | str | Callable[[Model], Choice]) -> Model:
    facts = kept.facts
    rows = dict(zip(facts.features, facts.rows, strict=True))
    plain = untrained(name, rows, facts.vocabularies, facts.dense_inputs, how)
    return hold(plain, None, representation(plain) if callable(representation) else representation)


def _first(table: Table, seed: int, how: Recipe) -> dict[str, NDArray[np.generic]]:
    """Untrained arrays of a table."""
    found = build(table, seed)
    if isinstance(table.computed, Dhe) and how.decoder_start != 1:
        last = len(table.computed.hidden)
        for name in (f"{last}.weight", f"{last}.bias"):
            found[name] = found[name].astype(np.float32) * np.float32(how.decoder_start)
    return found


def _check_single(model: Model) -> None:
    for table in model.tables:
        kept = table.format.dtype if table.computed is None else getattr(table.computed, "dtype", "fp32")
        if kept != "fp32":
            raise PlanError(
                "train",
                f"table '{table.name}' is to be kept in {kept}; training is in float32",
                "Train it so; afterwards 'recsmith convert --to int8' rounds rows, '--decoders int8' decoders.",
            )


def _vocabularies(kept: Store) -> dict[str, bytes | Path]:
    return {vocabulary_file(feature): kept.vocabulary(feature) for feature in kept.facts.vocabularies}


def _evaluate(
    module: TrainedDlrm, kept: Store, target: Path, resamples: int, progress: Progress | None
) -> Quality | None:
    """The quality on what is held back, None when that is nothing; the predictions are left in `target`."""
    from recsmith.training.loop import predict

    first, last = kept.facts.training, kept.facts.samples
    if first == last:
        return None
    scores_S = predict(module, kept, first, last, progress)
    np.save(target / SCORES_FILE, scores_S)
    return metrics.quality(scores_S, np.asarray(kept.labels[first:last]), resamples=resamples)


def _summary(
    target: Path, kept: Store, model: Model, state: State, total: int, quality: Quality | None
) -> TrainSummary:
    facts = kept.facts
    return TrainSummary(
        str(target),
        state.step,
        total,
        facts.training,
        facts.samples - facts.training,
        facts.bad_rows,
        facts.bad_labels,
        facts.first_bad,
        facts.unseen,
        model.nbytes,
        quality,
        tuple(state.reports),
    )
