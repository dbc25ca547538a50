"""Predictions to a file, as they come: Parquet, CSV or NumPy archive. Legend: B samples, O outputs."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import FormatError, Prediction

from .arrow import parquet


def write(path: str | Path, predictions: Iterable[Prediction]) -> int:
    """Write the predictions to `path`, by its ending (.parquet, .csv, .npz), and return how many samples they were.

    One column `prediction`, or `prediction.0`, `prediction.1` ... for several outputs; an archive holds one array
    `prediction`. A file that already exists is replaced once all predictions are made, not before.

    Raises:
        FormatError: the ending is none of these.
        UnavailableError: Parquet is asked for and pyarrow is not installed.
    """
    target = Path(path)
    writers = {".parquet": _write_parquet, ".csv": _write_csv, ".npz": _write_npz}
    if target.suffix not in writers:
        raise FormatError("write", f"'{path}' ends in none of {', '.join(writers)}", "Choose one of these endings.")
    partial = target.with_name(f".{target.name}.partial{target.suffix}")
    try:
        count = writers[target.suffix](partial, predictions)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return count


def _names(values_BO: NDArray[np.float32]) -> list[str]:
    outputs = values_BO.shape[1]
    return ["prediction"] if outputs == 1 else [f"prediction.{i}" for i in range(outputs)]


def _flat(prediction: Prediction) -> NDArray[np.float32]:
    values = np.asarray(prediction.values, dtype=np.float32)
    return values.reshape(len(values), -1) if values.size else values.reshape(len(values), 1)


def _write_parquet(path: Path, predictions: Iterable[Prediction]) -> int:
    pyarrow, pq = parquet("writing Parquet")
    count, writer = 0, None
    try:
        for prediction in predictions:
            values_BO = _flat(prediction)
            table = pyarrow.table({name: values_BO[:, i] for i, name in enumerate(_names(values_BO))})
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
            count += len(values_BO)
        if writer is None:
            pq.write_table(pyarrow.table({"prediction": np.empty(0, np.float32)}), path)
    finally:
        if writer is not None:
            writer.close()
    return count


def _write_csv(path: Path, predictions: Iterable[Prediction]) -> int:
    count = 0
    with path.open("w", newline="") as stream:
        lines = csv.writer(stream)
        for prediction in predictions:
            values_BO = _flat(prediction)
            if not count:
                lines.writerow(_names(values_BO))
            lines.writerows(values_BO.tolist())
            count += len(values_BO)
        if not count:
            lines.writerow(["prediction"])
    return count


def _write_npz(path: Path, predictions: Iterable[Prediction]) -> int:
    parts = [np.asarray(prediction.values, dtype=np.float32) for prediction in predictions]
    whole = np.concatenate(parts) if parts else np.empty(0, np.float32)
    np.savez(path, prediction=whole)
    return len(whole)
