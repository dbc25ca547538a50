"""One call for every kind of checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from recsmith.spec import CheckpointError, Model, Progress, Provenance, Weights
from recsmith.spec.model import Activation
from recsmith.spec.representation import DecoderActivation, Transform

from . import artifact, checkpoint, dlrm, module, mprec, safetensors_file
from .check import check_weights, refuse_nonfinite
from .recognise import recognise
from .tensor_file import Stored

if TYPE_CHECKING:
    import torch

_HASH_BYTES = 16 << 20


def import_model(
    source: str | Path | torch.nn.Module,
    *,
    factory: str | None = None,
    sample: str | Path | Mapping[str, Any] | Sequence[Any] | None = None,
    name: str | None = None,
    interaction: Literal["dot", "cat"] | None = None,
    self_terms: bool | None = None,
    feature_names: Sequence[str] = (),
    output: Activation = "sigmoid",
    rows: Sequence[int] = (),
    dhe_transform: Transform = "uniform",
    dhe_activation: DecoderActivation = "sigmoid",
    dhe_features: Sequence[int] | None = None,
    allow_nonfinite: bool = False,
    progress: Progress | None = None,
) -> tuple[Model, Weights]:
    """The model and its weights, from an artifact folder, a PyTorch checkpoint, a safetensors file or a module.

    Large tables stay in the file and are mapped. Nothing in a checkpoint is executed; a factory, which is the
    caller's own code, is.

    Args:
        source: a path (which kind of file it is, is seen from the file itself) or a module.
        factory: "pkg.mod:function" that makes the module into which the checkpoint is loaded.
        sample: example inputs of the module, in order, by name, or an .npz of them (see `module.read_sample`);
            needed for modules.
        name: the model's name; the file's stem or the module's class when None.
        interaction, self_terms, output: see `dlrm.from_arrays`.
        feature_names: in the order of the tables (DLRM) or of the forward's look-ups (modules).
        rows, dhe_transform, dhe_activation, dhe_features: of MP-Rec's checkpoints; see `mprec.from_arrays`.
        allow_nonfinite: keep NaN and infinite weights; they are counted and refused otherwise.
        progress: told bytes checked.

    Raises:
        CheckpointError: the file is foreign or damaged, its tensors are not a model, or a module cannot be
            captured.
        FormatError: an artifact, safetensors file or sample is damaged.
    """
    if not isinstance(source, str | Path):
        model, weights = _from_module(source, sample, name, feature_names)
        origin = Provenance(type(source).__name__, "module", "", _today())
    else:
        path = Path(source)
        kind = recognise(path)
        if kind == "artifact":
            return artifact.open(path)
        if factory is not None:
            built = module.make_module(factory)
            module.load_into(built, path)
            model, weights = _from_module(built, sample, name or path.stem, feature_names)
        else:
            arrays = safetensors_file.read_state(path) if kind == "safetensors" else checkpoint.read_state(path)
            _check_known(arrays, path)
            known: dict[str, Any] = {
                "name": name or path.stem,
                "interaction": interaction,
                "self_terms": self_terms,
                "feature_names": feature_names,
                "output": output,
            }
            if mprec.is_mprec(list(arrays)):
                stacks: dict[str, Any] = {
                    "transform": dhe_transform,
                    "last_activation": dhe_activation,
                    "dhe_features": dhe_features,
                }
                model, weights = mprec.from_arrays(arrays, rows=rows, **stacks, **known)
                importer = "mprec"
            else:
                model, weights = dlrm.from_arrays(arrays, **known)
                importer = "dlrm"
        origin = provenance(path, importer if factory is None else f"module {factory}", progress)
    check_weights("import", model, weights)
    if not allow_nonfinite:
        refuse_nonfinite(model, weights, progress)
    return msgspec.structs.replace(model, provenance=origin), weights


def _from_module(
    built: torch.nn.Module,
    sample: str | Path | Mapping[str, Any] | Sequence[Any] | None,
    name: str | None,
    feature_names: Sequence[str],
) -> tuple[Model, Weights]:
    if sample is None:
        raise CheckpointError(
            "import", "a module is captured by running it on example inputs, and none are given", "Pass --sample f.npz."
        )
    inputs = module.read_sample(sample) if isinstance(sample, str | Path) else sample
    return module.from_module(built, inputs, name=name, feature_names=feature_names)


def provenance(path: Path, importer: str, progress: Progress | None = None) -> Provenance:
    """Where a model came from: file name, digest and today's date."""
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(_HASH_BYTES):
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress("digest", done, total)
    return Provenance(path.name, importer, digest.hexdigest(), _today())


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _check_known(arrays: Mapping[str, Stored], path: Path) -> None:
    if dlrm.is_dlrm(list(arrays)) or mprec.is_mprec(list(arrays)):
        return
    shown = ", ".join(list(arrays)[:8]) + (" ..." if len(arrays) > 8 else "")
    raise CheckpointError(
        "import",
        f"'{path}' is a state dict of an architecture that is not recognised; its keys: {shown}",
        "Give the module with --model pkg.mod:factory and example inputs with --sample f.npz.",
    )
