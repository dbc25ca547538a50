"""NumPy archives: `np.savez(file, C1=ids, dense=x)`.

A feature is an array of its name, [S] or [S, ids a bag], or the pair `name__values` [L] and `name__offsets`
[S + 1]; `name__weights` [L] may go with it. `dense` is [S, D]; `label` [S] is optional.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from recsmith.spec import FormatError, InputError

from .rows import Column, Rows, Tally

_SUFFIXES = ("__values", "__offsets", "__weights")


def rows(path: Path, features: Sequence[str], dense_inputs: int, block: int, tally: Tally) -> Iterator[Rows]:
    """The samples of the archive, `block` at a time.

    Raises:
        FormatError: it is not an archive of arrays.
        InputError: its arrays disagree on the number of samples.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive.items())
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise FormatError("read", f"cannot read '{path}': {error}", "Write it with np.savez.") from error
    bases = dict.fromkeys(_base(name) for name in arrays)
    columns = {name: _column(arrays, name) for name in bases if name not in ("dense", "label")}
    dense = arrays["dense"].astype(np.float32) if "dense" in arrays else None
    labels = arrays["label"].astype(np.float32).reshape(-1) if "label" in arrays else None
    whole = Rows(columns, dense if dense_inputs else None, labels)
    counts = {name: len(column) for name, column in columns.items()}
    counts |= {name: len(array) for name, array in (("dense", dense), ("label", labels)) if array is not None}
    if len(set(counts.values())) > 1:
        raise InputError("read", f"'{path}' has arrays of different numbers of samples: {counts}", "Make them equal.")
    for start in range(0, len(whole), block):
        yield whole.part(start, min(len(whole), start + block))


def _base(name: str) -> str:
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _column(arrays: dict[str, np.ndarray], name: str) -> Column:
    weights = arrays.get(f"{name}__weights")
    scales = None if weights is None else weights.astype(np.float32).reshape(-1)
    if name in arrays:
        array = arrays[name]
        if array.ndim <= 1:
            return Column(_ids(array, name), None, scales)
        offsets = np.arange(array.shape[0] + 1, dtype=np.int64) * array.shape[1]
        return Column(_ids(array.reshape(-1), name), offsets, scales)
    if f"{name}__values" not in arrays or f"{name}__offsets" not in arrays:
        raise InputError("read", f"feature '{name}' has no values or no offsets", f"Save {name}__values and __offsets.")
    values, offsets = arrays[f"{name}__values"], arrays[f"{name}__offsets"].astype(np.int64)
    if len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(values) or np.any(np.diff(offsets) < 0):
        raise InputError(
            "read",
            f"the offsets of '{name}' do not rise from 0 to its {len(values)} values",
            "Offsets hold S + 1 numbers.",
        )
    return Column(_ids(values, name), offsets, scales)


def _ids(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype.kind in "iub":
        return array.astype(np.int64)
    if array.dtype.kind in "US":
        return array.astype(str)
    raise InputError("read", f"the ids of '{name}' are {array.dtype}, not integers or text", "Save them as int64.")
