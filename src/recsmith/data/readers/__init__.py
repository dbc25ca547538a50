"""Readers: files to streams of batches. The menu, and the way in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from recsmith.spec import Batch, FormatError, Model, Registry

from ..idmaps import Mapper, mappers
from .batches import Labelled, assemble, rechunk
from .judge import usable
from .rows import BadRows, Column, Rows, Tally

READERS = Registry(
    "reader",
    {
        "npz": "recsmith.data.readers.npz:rows",
        "tsv": "recsmith.data.readers.delimited:rows",
        "parquet": "recsmith.data.readers.parquet:rows",
        "criteo_tsv": "recsmith.data.readers.criteo:tsv_rows",
        "criteo_parquet": "recsmith.data.readers.criteo:parquet_rows",
        "avazu": "recsmith.data.readers.avazu:rows",
        "movielens": "recsmith.data.readers.movielens:rows",
    },
)

__all__ = ["READERS", "BadRows", "Column", "Rows", "Tally", "guess", "labelled", "read"]

_CRITEO_CELLS = range(36, 41)


def read(
    path: str | Path,
    model: Model,
    batch: int,
    *,
    reader: str = "auto",
    maps: Mapping[str, Mapper] | None = None,
    tally: Tally | None = None,
) -> Iterator[Batch]:
    """The file's samples as batches of `model`, `batch` samples each (the last may be smaller), in file order.

    Args:
        reader: a name of `READERS`, or `auto` to tell from the file.
        maps: from `idmaps.mappers(model, weights.files)`; None makes them without vocabularies.
        tally: counts samples, bad rows and unseen ids, and says what to do with bad rows.

    Raises:
        FormatError: the file cannot be read.
        InputError: a row is bad, a feature is missing, or an id has no row.
        UnavailableError: the reader needs a package that is not installed.
        UnknownNameError: there is no such reader.
    """
    for found, _ in labelled(path, model, batch, reader=reader, maps=maps, tally=tally):
        yield found


def labelled(
    path: str | Path,
    model: Model,
    batch: int,
    *,
    reader: str = "auto",
    maps: Mapping[str, Mapper] | None = None,
    tally: Tally | None = None,
) -> Iterator[Labelled]:
    """As `read`, each batch with its labels ([B] float32), or None where the file has none."""
    source = Path(path)
    counting = tally or Tally()
    mapping = mappers(model) if maps is None else maps
    names = [feature.name for feature in model.features]
    rows = READERS[guess(source) if reader == "auto" else reader](source, names, model.dense_inputs, batch, counting)
    for chunk in rechunk(usable(rows, model, str(source), counting), batch):
        yield assemble(chunk, model, mapping, counting)


def guess(path: Path) -> str:
    """The reader for a file, told from its name and, for text, its first line.

    Raises:
        FormatError: nothing is there, or its kind cannot be told.
    """
    if not path.exists():
        raise FormatError("read", f"there is no '{path}'", "Check the path.")
    if path.is_dir() or path.name == "u.data":
        return "movielens"
    kinds = {".npz": "npz", ".parquet": "parquet", ".pq": "parquet", ".csv": "tsv"}
    suffix = next((part for part in reversed(path.suffixes) if part != ".gz"), "")
    if suffix in kinds:
        return kinds[suffix]
    return "criteo_tsv" if _looks_like_criteo(path) else "tsv"


def _looks_like_criteo(path: Path) -> bool:
    from .delimited import text

    with text(path) as stream:
        cells = stream.readline().rstrip("\r\n").split("\t")
    return len(cells) in _CRITEO_CELLS and all(not cell or cell.lstrip("-").isdigit() for cell in cells[:13])
