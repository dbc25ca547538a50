"""`predict` and `verify` with a GPU's profile, on the emulated GPU; torch's part by a double."""

import json

import numpy as np
import pytest
from emulated import device
from test_cuda_executor import PLATFORM

from command_line import recsmith

torch = pytest.importorskip("torch")

from torch_double import TorchDouble  # noqa: E402

from recsmith.executor.cuda import compile as module  # noqa: E402
from recsmith.testing.torch_dlrm import TorchDlrm, tiny  # noqa: E402

ROWS = (50, 3, 1000)


@pytest.fixture
def emulated_gpu(monkeypatch):
    """What `compile` finds when it looks for a GPU and for torch on it."""
    import sys

    home = sys.modules[module.__module__]
    monkeypatch.setattr(home, "Device", device)
    monkeypatch.setattr(home, "TorchGpu", lambda gpu, precision: TorchDouble(gpu))


@pytest.fixture
def folder(tmp_path, capsys):
    torch.manual_seed(0)
    torch.save({"state_dict": TorchDlrm(tiny(ROWS)).state_dict()}, tmp_path / "tiny.pt")
    draw = np.random.default_rng(0)
    ids = {f"C{i + 1}": draw.integers(0, rows, 50) for i, rows in enumerate(ROWS)}
    np.savez(tmp_path / "rows.npz", **ids, dense=draw.normal(size=(50, 4)).astype(np.float32))
    PLATFORM.save(tmp_path / "gpu.json")
    assert recsmith(capsys, "import", tmp_path / "tiny.pt", "-o", tmp_path / "model", "--no-self-terms", "-q")[0] == 0
    return tmp_path


@pytest.mark.usefixtures("emulated_gpu")
def test_predict_and_verify_on_a_gpu(capsys, folder):
    words = (folder / "model", "--platform", folder / "gpu.json", "-i", folder / "rows.npz", "--batch", 16)
    code, out, err = recsmith(capsys, "predict", *words, "-o", folder / "found.npz", "--json", "-q")
    assert code == 0, err
    values = np.load(folder / "found.npz")["prediction"]
    assert json.loads(out)["samples"] == 50 and values.shape == (50,)
    code, out, err = recsmith(capsys, "verify", *words, "--against", folder / "tiny.pt", "--json", "-q")
    assert code == 0, err
    assert json.loads(out)["passed"] and json.loads(out)["samples"] == 50
    assert recsmith(capsys, "predict", *words, "--isa", "avx2")[0] == 7


def test_a_machine_without_a_gpu_says_so(capsys, folder, monkeypatch):
    monkeypatch.setenv("RECSMITH_CUDA_DRIVER", "/nowhere/libcuda.so")
    from recsmith.kernels.cuda.driver import driver

    driver.cache_clear()
    words = (folder / "model", "--platform", folder / "gpu.json", "-i", folder / "rows.npz")
    code, _, err = recsmith(capsys, "predict", *words)
    driver.cache_clear()
    assert code == 7 and "NVIDIA's driver could not be loaded" in err
