"""A pytest plugin that runs the tests of `tests/accel` on the GPU that is here instead of the emulated one.

PYTHONPATH=src:benchmarks/gpu:tests/accel python -m pytest -p on_device tests/accel

SHARD=2/12 runs the third of twelve parts: compiling kernels takes most of the time, one core a process.
"""

import functools
import os

import emulated

from recsmith.executor.cuda.torch_side import TorchGpu
from recsmith.kernels.cuda.device import Device


@functools.cache
def device() -> Device:
    """The first GPU."""
    return Device()


EMULATED = (
    "test_emulator.py",
    "test_wgmma_emulated.py",
    "test_cuda_products.py",
    "test_bench_gpu.py",
    "test_bench_gpu_model.py",
    "test_bench_gpu_dhe.py",
)


class Counting(TorchGpu):
    """torch on this GPU in place of the double."""

    recorded = 0

    def record(self, lane, steps):
        self.recorded += 1
        return super().record(lane, steps)


emulated.device = device
try:
    import torch_double

    torch_double.TorchDouble = Counting
except ModuleNotFoundError:  # without torch the tests that want it are skipped
    pass


def pytest_collection_modifyitems(config, items):
    """Tests of the emulator itself have no place here, nor those that read a GPU's memory as if it were the host's."""
    part, parts = map(int, os.environ.get("SHARD", "0/1").split("/"))
    kept = [item for item in items if item.path.name not in EMULATED][part::parts]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
