"""What kind of file a checkpoint is, from its first bytes; nothing in it is executed."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from recsmith.spec import CheckpointError

from . import artifact

Kind = Literal["artifact", "torch", "safetensors"]

_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_FOREIGN = {
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG": "a PNG image",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "gzip-compressed",
    b"\x89HDF": "an HDF5 file (Keras?)",
    b"GGUF": "a GGUF language model",
    b"PAR1": "a Parquet table",
    b"\x93NUMPY": "a NumPy array",
    b"\x08": "a protocol buffer (ONNX?)",
    b"<": "an HTML or XML page (a failed download?)",
    b"version https://git-lfs": "a Git LFS pointer, not the file it stands for",
}
WANTED = "Wanted: a state dict saved by torch.save, a .safetensors file, or an artifact folder."


def recognise(path: Path) -> Kind:
    """The kind of checkpoint at `path`.

    Raises:
        CheckpointError: it does not exist, is empty, or is none of ours; says what it looks like.
    """
    if path.is_dir():
        if (artifact.home(path) / artifact.MODEL_FILE).is_file():
            return "artifact"
        raise CheckpointError("import", f"folder '{path}' has no model.json, so it is not an artifact", WANTED)
    try:
        with path.open("rb") as file:
            head = file.read(64)
        size = path.stat().st_size
    except OSError as error:
        raise CheckpointError("import", f"cannot open '{path}': {error.strerror}", "Check the path.") from error
    if not head:
        raise CheckpointError("import", f"'{path}' is empty (0 bytes)", WANTED)
    if head.startswith(_ZIP):
        _check_zip(path)
        return "torch"
    if head.startswith(_PICKLE):
        return "torch"
    if path.suffix == ".safetensors" or _looks_like_safetensors(head, size):
        return "safetensors"
    looks = next((what for magic, what in _FOREIGN.items() if head.startswith(magic)), None)
    looks = looks or f"of an unknown format (first bytes: {head[:8].hex(' ')})"
    raise CheckpointError("import", f"'{path}' is {looks}, not a checkpoint", WANTED)


def _looks_like_safetensors(head: bytes, size: int) -> bool:
    return int.from_bytes(head[:8], "little") <= size and head[8:].lstrip()[:1] == b"{"


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise CheckpointError(
            "import", f"'{path}' is truncated or damaged: {error}", "Copy or save the checkpoint again."
        ) from error
    tails = {name.partition("/")[2] for name in names}
    if "constants.pkl" in tails or any(tail.startswith("code/") for tail in tails):
        raise CheckpointError(
            "import",
            f"'{path}' is a TorchScript archive, which holds code",
            "Save the weights instead, torch.save(module.state_dict(), path), and name the model with --model.",
        )
    if any(name.startswith("archive_format") or "models/" in name for name in tails | set(names)):
        raise CheckpointError(
            "import",
            f"'{path}' is a torch.export archive, which holds a program",
            "Save the weights instead, torch.save(module.state_dict(), path), and name the model with --model.",
        )
    if "data.pkl" not in tails:
        shown = ", ".join(names[:3])
        raise CheckpointError("import", f"'{path}' is a zip archive ({shown} ...), not a checkpoint", WANTED)
