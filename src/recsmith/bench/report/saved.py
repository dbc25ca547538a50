"""Benchmark records as saved by `recsmith bench ... --json`, for the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import msgspec

from recsmith.bench.model import ModelRecord
from recsmith.bench.prediction import PredictionRecord
from recsmith.bench.records import LookupRecord
from recsmith.spec import Estimate, FormatError, Measurement

from .content import Case, Check, Timing


@dataclass(frozen=True, slots=True)
class Saved:
    """Records by kind.

    Attributes:
        latency: whole predictions, a case a batch size, engines by name.
        checks: look-ups predicted and measured.
    """

    lookups: tuple[LookupRecord, ...]
    latency: tuple[Case, ...]
    checks: tuple[Check, ...]


def open_records(paths: Sequence[Path]) -> Saved:
    """The records in `paths`: files of one JSON object, or `.jsonl` with one a line.

    Raises:
        FormatError: a file is absent or holds something else.
    """
    lookups: list[LookupRecord] = []
    latency: list[Case] = []
    checks: list[Check] = []
    for path in paths:
        for text in _objects(path):
            kind = _kind(text, path)
            if kind == "lookup":
                lookups.append(LookupRecord.from_json(text))
            elif kind == "model":
                latency += _latency(ModelRecord.from_json(text))
            elif kind == "prediction":
                checks += _checks(PredictionRecord.from_json(text))
            else:
                raise FormatError("report", f"'{path}' is no benchmark record", "Give output of recsmith bench --json.")
    return Saved(tuple(lookups), tuple(latency), tuple(checks))


def _objects(path: Path) -> list[str]:
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise FormatError("report", f"cannot open '{path}': {error.strerror}", "Check the path.") from error
    return [line for line in text.splitlines() if line.strip()] if path.suffix == ".jsonl" else [text]


def _kind(text: str, path: Path) -> str:
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise FormatError(
            "report", f"'{path}' is not JSON: {error}", "Give output of recsmith bench --json."
        ) from error
    return str(found.get("kind", "")) if isinstance(found, dict) else ""


def _latency(record: ModelRecord) -> list[Case]:
    """A case a batch size."""
    cases = []
    for batch, found in groupby(sorted(record.cases, key=lambda case: case.batch), key=lambda case: case.batch):
        timings = tuple(
            Timing(
                engine=case.engine,
                seen=Measurement(case.median_s, case.q1_s, case.q3_s, case.runs),
                version=case.version,
                settings=case.settings,
            )
            for case in found
        )
        cases.append(Case(f"{record.workload}, batch {batch}", batch, record.run.threads, timings))
    return cases


def _checks(record: PredictionRecord) -> list[Check]:
    """A check for each case and planner of the grid."""
    return [
        Check(
            title=f"{case.workload}, {case.ids}, batch {case.batch}, {made.planner}",
            predicted=Estimate(made.predicted_s, {"call": made.predicted_s}, "fitted"),
            measured=Measurement(made.measured_s, made.q1_s, made.q3_s, 1),
        )
        for case in record.cases
        for made in case.planners
    ]
