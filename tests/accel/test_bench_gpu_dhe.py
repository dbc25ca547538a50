"""Cells of computed rows on the emulated GPU: every engine agrees with float64; seconds mean nothing."""

import pytest
from emulated import device

from recsmith.spec import RecsmithError, UnknownNameError

torch = pytest.importorskip("torch")

from recsmith.bench.gpu import dhe as runner  # noqa: E402
from recsmith.bench.gpu.dhe import GpuDheOptions, GpuDheRecord, run_gpu_dhe  # noqa: E402
from recsmith.bench.gpu.world import World  # noqa: E402

SMALL = GpuDheOptions(
    (64, 32, 8), grouped=(64,), features=3, batch=20, rows=1000, blocks=(0, 32), sets=2, rounds=3, against=("torch",)
)


@pytest.fixture
def world():
    made = World(device(), "cpu")
    yield made
    made.close()


def test_engines_are_checked_and_timed(world):
    record = run_gpu_dhe(SMALL, world=world)
    assert [cell.engine for cell in record.cells] == [
        "recsmith",
        "recsmith[32 rows]",
        "recsmith[wgmma bf16, 64 rows]",
        "recsmith[wgmma fp8, 64 rows]",
        "torch",
    ]
    assert "bf16 products by wgmma, 64 rows a block" in record.cells[2].settings
    assert record.missing == () and all(
        0 < cell.worst < (0.2 if "fp8" in cell.engine else 0.02) for cell in record.cells
    )
    assert "emulated" in record.run.placement
    assert GpuDheRecord.from_json(record.to_json()) == record


def test_a_rival_that_is_wrong_is_missing_and_ours_ends_the_run(world, monkeypatch):
    written = runner.TorchRows._written
    monkeypatch.setattr(runner.TorchRows, "_written", lambda self, ids: written(self, ids + 1))
    record = run_gpu_dhe(SMALL, world=world)
    assert [missing.engine for missing in record.missing] == ["torch"]
    assert "of the largest element" in record.missing[0].reason
    monkeypatch.setattr(runner.OurRows, "call", lambda self, at: self._case.out)
    with pytest.raises(RecsmithError, match="This is a fault in recsmith"):
        run_gpu_dhe(SMALL, world=world)


def test_a_rival_nobody_knows_is_an_error(world):
    with pytest.raises(UnknownNameError, match="no rival for computed rows on a GPU 'jax'"):
        run_gpu_dhe(GpuDheOptions((64, 8), against=("jax",)), world=world)
