"""The artifact: a folder with a model and its weights, opened as a memory map.

    model.json                          the model (`spec.Model`)
    tables-00001-of-0000N.safetensors   rows as stored; a table lies whole in one shard
    dense.safetensors                   parameters of MLP parts, if any
    representations.safetensors         parameters of computed tables, if any, named `{table}.{parameter}`
    dense.pt2, vocabularies             what the model refers to by name
    README.md                           the model card

Training and what tries several models write the artifact to `model` inside their folder, which stands for it.

`model.json` is written last: a folder without it is not an artifact, whatever else lies there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from recsmith.spec import FormatError, Model, Progress, RecsmithError, Table, Weights

from .check import check_weights, named_parameters, referred_files
from .model_card import model_card
from .tensor_file import Stored, read, write

MODEL_FILE = "model.json"
MODEL_FOLDER = "model"
DENSE_FILE = "dense.safetensors"
PARAMETERS_FILE = "representations.safetensors"
CARD_FILE = "README.md"
SHARD_BYTES = 4 << 30
_PARTIAL = ".partial"
_DTYPES = {"fp32": "F32", "fp16": "F16", "bf16": "BF16", "int8": "U8", "int4": "U8", "int64": "I64"}


def save(
    model: Model,
    weights: Weights,
    directory: str | Path,
    progress: Progress | None = None,
    *,
    shard_bytes: int = SHARD_BYTES,
) -> Path:
    """Write the artifact and return its folder.

    Streams: a few MiB of memory however large the tables. Every file is written beside its final name and moved
    there at the end, so that an artifact can be saved over the one its weights are mapped from.

    Args:
        progress: told the bytes of tables written.
        shard_bytes: tables are gathered in files of about this size.

    Raises:
        FormatError: an array is missing or misshapen, or the folder holds something else.
        RecsmithError: the disk refused a write.
    """
    check_weights("save", model, weights)
    folder = Path(directory)
    try:
        _refuse_foreign(folder)
        folder.mkdir(parents=True, exist_ok=True)
        names = _write_tables(model, weights, folder, shard_bytes, progress)
        names += _write_rest(model, weights, folder)
        _finish(folder, names, model)
    except OSError as error:
        raise RecsmithError(
            "save", f"cannot write to '{folder}': {error.strerror}", "Free space, or choose another folder."
        ) from error
    return folder


def home(directory: str | Path) -> Path:
    """The artifact's own folder: `directory`, or `model` inside it where that is what it holds."""
    folder = Path(directory)
    inside = folder / MODEL_FOLDER
    return inside if (inside / MODEL_FILE).is_file() and not (folder / MODEL_FILE).is_file() else folder


def open(directory: str | Path) -> tuple[Model, Weights]:
    """The model and its weights, memory-mapped: only headers are read, whatever the size.

    Raises:
        FormatError: the folder is not an artifact, or one of its files is missing, truncated or misshapen.
    """
    folder = home(directory)
    if not (folder / MODEL_FILE).is_file():
        raise FormatError(
            "open",
            f"'{folder}' has no {MODEL_FILE}, so it is not an artifact (or saving it was interrupted)",
            "Make one with 'recsmith import' or 'recsmith train'.",
        )
    model = Model.open(folder / MODEL_FILE)
    tables: dict[str, Stored] = {}
    where: dict[str, str] = {}
    for shard in _shards(folder):
        found = read(shard)
        tables |= found
        where |= dict.fromkeys(found, shard.name)
    dense = read(folder / DENSE_FILE) if (folder / DENSE_FILE).is_file() else {}
    where |= dict.fromkeys(dense, DENSE_FILE)
    parameters = read(folder / PARAMETERS_FILE) if (folder / PARAMETERS_FILE).is_file() else {}
    where |= dict.fromkeys(parameters, PARAMETERS_FILE)
    _check_dtypes(model, tables, where)
    weights = Weights(
        {table.name: tables[table.name].array for table in model.tables if table.name in tables},
        {name: stored.array for name, stored in dense.items()},  # type: ignore[misc]
        {name: folder / name for name in referred_files(model) if (folder / Path(name).name).is_file()},
        {name: stored.array for name, stored in parameters.items()},
    )
    check_weights("open", model, weights, where)
    return model, weights


def _write_tables(
    model: Model, weights: Weights, folder: Path, shard_bytes: int, progress: Progress | None
) -> list[str]:
    shards = _split(tuple(table for table in model.tables if table.computed is None), shard_bytes)
    done = 0

    def wrote(nbytes: int) -> None:
        nonlocal done
        done += nbytes
        if progress is not None:
            progress("write tables", done, model.nbytes)

    names = []
    for at, shard in enumerate(shards, 1):
        name = f"tables-{at:05}-of-{len(shards):05}.safetensors"
        stored = {table.name: Stored(_DTYPES[table.format.dtype], weights.tables[table.name]) for table in shard}
        write(folder / (name + _PARTIAL), stored, wrote)
        names.append(name)
    return names


def _split(tables: tuple[Table, ...], shard_bytes: int) -> list[list[Table]]:
    shards: list[list[Table]] = []
    filled = shard_bytes
    for table in tables:
        if filled + table.nbytes > shard_bytes or not shards:
            shards.append([])
            filled = 0
        shards[-1].append(table)
        filled += table.nbytes
    return shards


def _write_rest(model: Model, weights: Weights, folder: Path) -> list[str]:
    names = [CARD_FILE]
    (folder / (CARD_FILE + _PARTIAL)).write_text(model_card(model))
    if weights.dense:
        write(folder / (DENSE_FILE + _PARTIAL), {name: Stored("F32", array) for name, array in weights.dense.items()})
        names.append(DENSE_FILE)
    stored = {
        name: Stored(_DTYPES[parameter.dtype], weights.parameters[name])
        for name, parameter in named_parameters(model).items()
    }
    if stored:
        write(folder / (PARAMETERS_FILE + _PARTIAL), stored)
        names.append(PARAMETERS_FILE)
    for name in referred_files(model):
        content = weights.files[name]
        if isinstance(content, bytes):
            (folder / (name + _PARTIAL)).write_bytes(content)
        else:
            shutil.copyfile(content, folder / (name + _PARTIAL))
        names.append(name)
    return names


def _finish(folder: Path, names: list[str], model: Model) -> None:
    (folder / MODEL_FILE).unlink(missing_ok=True)
    for name in names:
        os.replace(folder / (name + _PARTIAL), folder / name)
    for stale in [*_shards(folder, complete=False), folder / DENSE_FILE, folder / PARAMETERS_FILE]:
        if stale.name not in names:
            stale.unlink(missing_ok=True)
    model.save(folder / (MODEL_FILE + _PARTIAL))
    os.replace(folder / (MODEL_FILE + _PARTIAL), folder / MODEL_FILE)


def _refuse_foreign(folder: Path) -> None:
    if folder.is_file():
        raise FormatError("save", f"'{folder}' is a file", "Choose a folder.")
    if not folder.is_dir() or (folder / MODEL_FILE).is_file():
        return
    foreign = [path.name for path in folder.iterdir() if not path.name.endswith(_PARTIAL)]
    if foreign:
        raise FormatError(
            "save",
            f"'{folder}' holds other files ({', '.join(sorted(foreign)[:3])}) and is not an artifact",
            "Choose an empty or new folder.",
        )


def _shards(folder: Path, *, complete: bool = True) -> list[Path]:
    found = sorted(folder.glob("tables-*-of-*.safetensors"))
    if not complete:
        return found
    wanted = int(found[0].stem.rpartition("-")[2]) if found else 0
    missing = {f"tables-{at:05}-of-{wanted:05}.safetensors" for at in range(1, wanted + 1)} - {p.name for p in found}
    if missing:
        raise FormatError("open", f"'{folder}' lacks {', '.join(sorted(missing))}", "Copy the whole folder again.")
    return found


def _check_dtypes(model: Model, tables: Mapping[str, Stored], where: Mapping[str, str]) -> None:
    """bf16 bit patterns and plain uint16 look alike once they are arrays; the file's dtype tells them apart."""
    for table in model.tables:
        stored = tables.get(table.name)
        wanted = _DTYPES[table.format.dtype]
        if table.computed is None and stored is not None and stored.dtype != wanted:
            raise FormatError(
                "open",
                f"table '{table.name}' in {where[table.name]} is stored as {stored.dtype}, but {MODEL_FILE} "
                f"wants {wanted} ({table.format.dtype})",
                "Import the checkpoint again; model.json and the files must be of one import.",
            )
