"""A model held in another way without training it anew: rows finished or stored in fewer bits, or taught to a DHE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from recsmith.data import hot, traces
from recsmith.importers import artifact
from recsmith.spec import Choice, Model, Progress, Record, RowDtype, Select
from recsmith.training.metrics import Quality

from .compose import load
from .converter import STEPS, ConvertedTable, Converter
from .evaluating import evaluate


class Converted(Record, frozen=True):
    """What a conversion did.

    Attributes:
        bytes_before, nbytes: of all embeddings.
        before, after: quality on `data`; None when none was given.
    """

    folder: str
    bytes_before: int
    nbytes: int
    tables: tuple[ConvertedTable, ...]
    data: str = ""
    before: Quality | None = None
    after: Quality | None = None


def convert(
    directory: str | Path,
    output: str | Path,
    choice: Choice | str | Callable[[Model], Choice] | None,
    *,
    decoders: RowDtype | None = None,
    features: Sequence[str] | None = None,
    profile: str | Path | None = None,
    steps: int = STEPS,
    seed: int = 0,
    data: str = "",
    limit: int = 0,
    progress: Progress | None = None,
) -> Converted:
    """Write the artifact in `directory` to `output` with the embeddings of `features` held as `choice` says.

    Stored rows of float32 yield exactly what a DHE computed. A DHE distilled from a table only comes near it.
    Beside a table (hybrid) it changes no prediction until it is trained on: the top MLP begins with zeros for it.

    Args:
        choice: None: as they are, for `decoders`.
        decoders: number format in which the weights of DHE decoders are kept afterwards.
        features: all when None.
        profile: recorded ids (Parquet); a DHE is taught each id as often as it occurs there.
        steps: updates of a DHE.
        data: samples as `train` takes them; the quality before and after is measured on them.
        limit: > 0: the first so many of them only.

    Raises:
        FormatError: the model is hybrid and shall become anything but stored rows; or its top MLP cannot be widened.
        PlanError, UnknownNameError: `choice` or `features` are wrong.
        CapacityError: rows do not fit in memory.
        UnavailableError: torch is not installed.
    """
    model, weights = load(directory)
    names = [feature.name for feature in model.features] if features is None else list(features)
    settings = _among(choice(model), names) if callable(choice) else choice
    asked = {} if profile is None else hot.by_table(model, traces.read(profile, names))
    converter = Converter(model, weights, asked, steps=steps, seed=seed, progress=progress)
    made, arrays = (model, weights) if settings is None else converter.convert(settings, names)
    if decoders is not None:
        converter.model, converter.weights = made, arrays
        made, arrays = converter.round_decoders(decoders, names)
    before = evaluate(directory, data, limit=limit, progress=progress).quality if data else None
    artifact.save(made, arrays, output, progress)
    after = evaluate(output, data, limit=limit, progress=progress).quality if data else None
    return Converted(str(output), model.nbytes, made.nbytes, tuple(converter.done), data, before, after)


def _among(choice: Choice, features: Sequence[str]) -> Choice:
    """What `choice` says of `features`."""
    if not isinstance(choice, Select):
        return choice
    return Select({name: one for name, one in choice.features.items() if name in features}, choice.others)
