"""Records that `recsmith bench` writes come back as what the report shows."""

import pytest

from recsmith.bench.model import BatchRatio, ModelCase, ModelRecord
from recsmith.bench.prediction import Drift, PlannerCase, PredictionCase, PredictionRecord
from recsmith.bench.records import Missing, Run, append
from recsmith.bench.report.saved import open_records
from recsmith.spec import FormatError

RUN = Run("abc", "2026-01-01T00:00:00+00:00", "some machine", 2)


def model_record() -> ModelRecord:
    cases = tuple(
        ModelCase(engine, "1", "", batch, median, median * 0.9, median * 1.2, median, median, median, 1.0, 40)
        for batch in (1, 128)
        for engine, median in (("recsmith", batch * 1e-5), ("torch", batch * 3e-5))
    )
    ratios = tuple(BatchRatio(batch, "torch", 3.0) for batch in (1, 128))
    return ModelRecord("w", RUN, "uniform", 100, cases, ratios, (Missing("x", "not installed"),))


def prediction_record() -> PredictionRecord:
    made = PlannerCase("auto", "d", 2e-4, 2.5e-4, 2.4e-4, 2.6e-4, -0.2, 3, ("gm",))
    case = PredictionCase("w", "fixed", 512, (made,), 1.0, False, True)
    return PredictionRecord(RUN, (case,), 0.2, 1.0, {}, Drift(1, 1.0, ""))


def test_model_records_become_a_case_a_batch_size(tmp_path):
    path = append(tmp_path / "runs.jsonl", model_record())
    found = open_records([path]).latency
    assert [case.batch for case in found] == [1, 128]
    assert [(t.engine, t.seen.seconds, t.seen.runs) for t in found[1].timings] == [
        ("recsmith", pytest.approx(1.28e-3), 40),
        ("torch", pytest.approx(3.84e-3), 40),
    ]


def test_prediction_records_become_checks(tmp_path):
    path = tmp_path / "prediction.json"
    prediction_record().save(path)
    (check,) = open_records([path]).checks
    assert check.title == "w, fixed, batch 512, auto"
    assert (check.predicted.seconds, check.measured.seconds) == (2e-4, 2.5e-4)


def test_several_lines_of_several_kinds_are_told_apart(tmp_path):
    path = append(append(tmp_path / "runs.jsonl", model_record()), prediction_record())
    found = open_records([path, path])
    assert (len(found.latency), len(found.checks), len(found.lookups)) == (4, 2, 0)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "poem"}', '{"kind": "model"}', "not json"])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(FormatError):
        open_records([path])
    with pytest.raises(FormatError, match="cannot open"):
        open_records([tmp_path / "absent.json"])
