"""Whether a model's arrays are what the model says they are."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import CheckpointError, FormatError, Mlp, Model, Parameter, Progress, RowFormat, Table, Weights

from .tensor_file import chunks

NUMPY_DTYPES: dict[str, np.dtype[np.generic]] = {
    "fp32": np.dtype(np.float32),
    "fp16": np.dtype(np.float16),
    "bf16": np.dtype(np.uint16),
    "int8": np.dtype(np.uint8),
    "int4": np.dtype(np.uint8),
}
_BF16_EXPONENT = 0x7F80


def stored_shape(table: Table) -> tuple[int, int]:
    """Shape of `table`'s array in `Weights.tables`."""
    if table.format.quantised:
        return table.rows, table.format.stride_bytes(table.dim)
    return table.rows, table.dim


def parameter_form(parameter: Parameter) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and dtype of its array in `Weights.parameters`."""
    if parameter.dtype == "int64":
        return parameter.shape, np.dtype(np.int64)
    row = RowFormat(parameter.dtype)
    wide = row.stride_bytes(parameter.shape[-1]) if row.quantised else parameter.shape[-1]
    return (*parameter.shape[:-1], wide), NUMPY_DTYPES[parameter.dtype]


def check_weights(operation: str, model: Model, weights: Weights, files: Mapping[str, str] | None = None) -> None:
    """Return when every array and file that `model` names is there with its shape and dtype.

    Args:
        operation: the step to name in errors.
        files: array name to the file that holds it, for the message.

    Raises:
        FormatError: a table, parameter or file is missing or misshapen, or a feature names no table.
    """
    names = {table.name for table in model.tables}
    for feature in model.features:
        lost = [name for name in (feature.table, feature.beside) if name is not None and name not in names]
        if lost:
            raise FormatError(
                operation,
                f"feature '{feature.name}' reads table '{lost[0]}', which the model does not have",
                f"The tables are: {', '.join(sorted(names))}.",
            )
    where = files or {}
    for table in model.tables:
        dtype = NUMPY_DTYPES[table.format.dtype]
        if table.computed is None:
            _check_array(operation, "table", table.name, weights.tables, stored_shape(table), dtype, where)
        for parameter in table.parameters:
            name = f"{table.name}.{parameter.name}"
            _check_array(operation, "parameter", name, weights.parameters, *parameter_form(parameter), where)
    for part in (model.bottom, model.top):
        for name, shape in ({} if part is None else mlp_shapes(part)).items():
            _check_array(operation, "parameter", name, weights.dense, shape, np.dtype(np.float32), where)
    for name in referred_files(model):
        if Path(name).name != name:
            raise FormatError(operation, f"file name '{name}' leaves the artifact", "Use a plain file name.")
        if name not in weights.files:
            raise FormatError(operation, f"the model refers to file '{name}', which is missing", "Save it again.")


def mlp_shapes(part: Mlp) -> dict[str, tuple[int, ...]]:
    """Parameter name to shape."""
    found: dict[str, tuple[int, ...]] = {}
    for layer, (width_in, width_out) in enumerate(pairwise(part.widths)):
        found[f"{part.prefix}.{layer}.weight"] = (width_out, width_in)
        found[f"{part.prefix}.{layer}.bias"] = (width_out,)
    return found


def named_parameters(model: Model) -> dict[str, Parameter]:
    """What the model's computed tables need, by its name in `Weights.parameters`."""
    return {f"{table.name}.{parameter.name}": parameter for table in model.tables for parameter in table.parameters}


def referred_files(model: Model) -> tuple[str, ...]:
    """Names of the files that `model` refers to."""
    found = [] if model.graph is None else [model.graph.file]
    found += [feature.id_map.file for feature in model.features if feature.id_map.file is not None]
    return tuple(dict.fromkeys(found))


def count_nonfinite(model: Model, weights: Weights, progress: Progress | None = None) -> dict[str, int]:
    """Name to the number of NaN or infinite elements, of the tables and parameters that have any.

    Quantised rows are judged by their scale and bias.
    """
    found: dict[str, int] = {}
    total, done = model.nbytes, 0
    for table in model.tables:
        if table.computed is not None:
            continue
        stored = weights.tables[table.name]
        count = 0
        for part in chunks(stored):
            count += _nonfinite(stored[part], table)
            done += stored[part].nbytes
            if progress is not None:
                progress("check weights", done, total)
        if count:
            found[table.name] = count
    for name, array in [*weights.dense.items(), *weights.parameters.items()]:
        bad = int(np.size(array) - np.isfinite(array).sum())
        if bad:
            found[name] = bad
    return found


def refuse_nonfinite(model: Model, weights: Weights, progress: Progress | None = None) -> None:
    """Return when every element is a finite number.

    Raises:
        CheckpointError: some are not; says how many and where.
    """
    found = count_nonfinite(model, weights, progress)
    if found:
        worst = ", ".join(f"'{name}' ({count:,})" for name, count in list(found.items())[:5])
        raise CheckpointError(
            "import",
            f"{sum(found.values()):,} weights are NaN or infinite, in {worst}{' ...' if len(found) > 5 else ''}",
            "Export the model again from a healthy checkpoint, or pass allow_nonfinite (--allow-nonfinite) "
            "to keep them as they are.",
        )


def _nonfinite(stored: NDArray[np.generic], table: Table) -> int:
    if table.format.dtype == "bf16":
        return int(((stored.view(np.uint16) & _BF16_EXPONENT) == _BF16_EXPONENT).sum())
    if table.format.quantised:
        header = np.ascontiguousarray(stored[:, :4]).view(np.float16)
        return int(header.size - np.isfinite(header).sum())
    values = stored.astype(np.float32, copy=False)
    # A sum is finite only if all elements are (or, rarely, overflows): one cheap pass in the usual case.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum(dtype=np.float32)):
            return 0
    return int(values.size - np.isfinite(values).sum())


def _check_array(
    operation: str,
    what: str,
    name: str,
    arrays: Mapping[str, NDArray[np.generic]],
    shape: tuple[int, ...],
    dtype: np.dtype[np.generic],
    where: Mapping[str, str],
) -> None:
    wanted = f"{dtype} {list(shape)}"
    if name not in arrays:
        raise FormatError(
            operation,
            f"{what} '{name}' ({wanted}) is missing; found {', '.join(list(arrays)[:8]) or 'none'}",
            "Import the checkpoint again; a file of the artifact may have been lost.",
        )
    found = arrays[name]
    if found.shape != shape or found.dtype != dtype:
        raise FormatError(
            operation,
            f"{what} '{name}'{f' in {where[name]}' if name in where else ''} is {found.dtype} {list(found.shape)}, "
            f"but the model wants {wanted}",
            "Import the checkpoint again; model.json and the files must be of one import.",
        )
