"""One call for every kind of checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from recsmith.spec import CheckpointError, Model, Progress, Provenance, Weights
from recsmith.spec.model import Activation

from . import artifact, checkpoint, dlrm, safetensors_file
from .check import check_weights, refuse_nonfinite
from .recognise import recognise
from .tensor_file import Stored

_HASH_BYTES = 16 << 20


def import_model(
    source: str | Path,
    *,
    name: str | None = None,
    interaction: Literal["dot", "cat"] | None = None,
    self_terms: bool | None = None,
    feature_names: Sequence[str] = (),
    output: Activation = "sigmoid",
    allow_nonfinite: bool = False,
    progress: Progress | None = None,
) -> tuple[Model, Weights]:
    """The model and its weights, from an artifact folder, a PyTorch checkpoint or a safetensors file.

    Large tables stay in the file and are mapped. Nothing in a checkpoint is executed.

    Args:
        source: which of them it is, is seen from the file itself.
        name: the model's name; the file's stem when None.
        interaction, self_terms, feature_names, output: see `dlrm.from_arrays`.
        allow_nonfinite: keep NaN and infinite weights; they are counted and refused otherwise.
        progress: told bytes checked.

    Raises:
        CheckpointError: the file is foreign or damaged, or its tensors are not a model.
        FormatError: an artifact or safetensors file is damaged.
    """
    path = Path(source)
    kind = recognise(path)
    if kind == "artifact":
        return artifact.open(path)
    arrays = safetensors_file.read_state(path) if kind == "safetensors" else checkpoint.read_state(path)
    _check_known(arrays, path)
    model, weights = dlrm.from_arrays(
        arrays,
        name=name or path.stem,
        interaction=interaction,
        self_terms=self_terms,
        feature_names=feature_names,
        output=output,
    )
    check_weights("import", model, weights)
    if not allow_nonfinite:
        refuse_nonfinite(model, weights, progress)
    return msgspec.structs.replace(model, provenance=provenance(path, "dlrm", progress)), weights


def provenance(path: Path, importer: str, progress: Progress | None = None) -> Provenance:
    """Where a model came from: file name, digest and today's date."""
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(_HASH_BYTES):
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress("digest", done, total)
    return Provenance(path.name, importer, digest.hexdigest(), datetime.now(UTC).date().isoformat())


def _check_known(arrays: Mapping[str, Stored], path: Path) -> None:
    if dlrm.is_dlrm(list(arrays)):
        return
    shown = ", ".join(list(arrays)[:8]) + (" ..." if len(arrays) > 8 else "")
    raise CheckpointError(
        "import",
        f"'{path}' is a state dict of an architecture that is not recognised; its keys: {shown}",
        "Give the module with --model pkg.mod:factory and example inputs with --sample f.npz.",
    )
