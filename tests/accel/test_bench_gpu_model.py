"""Whole-model benchmarks on the emulated GPU: engines agree, ratios are within a precision; seconds mean nothing."""

import pytest
from emulated import device
from msgspec.structs import replace
from test_cuda_executor import PLATFORM

torch = pytest.importorskip("torch")

from torch_double import TorchDouble  # noqa: E402

from recsmith import api  # noqa: E402
from recsmith.bench.gpu import model as runner  # noqa: E402
from recsmith.bench.gpu import model_rivals  # noqa: E402
from recsmith.bench.model import ModelCase, ModelOptions, ModelRecord  # noqa: E402
from recsmith.spec import UnknownNameError  # noqa: E402


@pytest.fixture
def options(tmp_path):
    PLATFORM.save(tmp_path / "gpu.json")
    return ModelOptions(
        "criteo_kaggle",
        (1, 9),
        max_bytes=60_000,
        platform=str(tmp_path / "gpu.json"),
        against=("torch", "fused"),
        rounds=3,
        seconds=0.002,
    )


def bind(*arguments, **options):
    return api.compile(*arguments, device=device(), torch_side=TorchDouble(device()), **options)


def measured(options):
    return runner.run_gpu_model(options, bind=bind, place="cpu")


def test_whole_models_are_compared_in_every_precision(options):
    record = measured(options)
    assert {case.engine for case in record.cases} == {"recsmith", "recsmith[tf32]", "recsmith[fp16]", "torch", "fused"}
    assert record.missing == ()
    assert [(best.batch, best.best_peer in ("torch", "fused")) for best in record.ratios] == [(1, True), (9, True)]
    assert ModelRecord.from_json(record.to_json()) == record


def test_ratios_are_between_engines_of_one_precision():
    case = ModelCase("", "", "", 1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3)
    seconds = {"recsmith": 2.0, "recsmith[fp16]": 1.0, "torch": 3.0, "compile[fp16]": 1.5}
    found = runner.ratios([replace(case, engine=engine, median_s=each) for engine, each in seconds.items()])
    assert [(best.best_peer, best.ratio) for best in found] == [("torch", 1.5), ("compile[fp16]", 1.5)]


def test_a_rival_that_predicts_otherwise_is_missing(options, monkeypatch):
    forward = model_rivals.TorchOnGpu._forward
    monkeypatch.setattr(model_rivals.FusedOnGpu, "_forward", lambda self, *x: forward(self, *x) + 0.1)
    record = measured(options)
    assert "fused" not in {case.engine for case in record.cases}
    assert {missing.engine for missing in record.missing} == {"fused"}
    assert "of the largest prediction" in record.missing[0].reason


def test_a_rival_nobody_knows_is_an_error(options):
    with pytest.raises(UnknownNameError, match="no whole-model rival on a GPU 'keras'"):
        measured(replace(options, against=("keras",)))
