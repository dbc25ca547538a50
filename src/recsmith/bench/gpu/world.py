"""A GPU as torch and as recsmith see it: one memory, one stream."""

from __future__ import annotations

from typing import Any

from recsmith.kernels.cuda.device import Device, Memory
from recsmith.kernels.cuda.program import Launch
from recsmith.spec import UnavailableError


class World:
    """Where a benchmark runs.

    Args:
        gpu: recsmith's device; torch uses the same context.
        place: torch's name for it; "cpu" for a GPU that is emulated on the processor.
    """

    def __init__(self, gpu: Device, place: str = "cuda") -> None:
        import torch

        self.torch: Any = torch
        self.gpu, self.place = gpu, place
        self.emulated = place == "cpu"
        self.stream: Any = None if self.emulated else torch.cuda.Stream()
        self._kept: list[Memory] = []

    @property
    def name(self) -> str:
        """The GPU's name."""
        return self.gpu.name

    @property
    def l2_bytes(self) -> int:
        """Bytes of its L2."""
        return self.gpu.attribute("l2_bytes")

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """An uninitialised tensor that kernels may read and write."""
        if not self.emulated:
            return self.torch.empty(shape, dtype=dtype, device=self.place)
        count = 1
        for size in shape:
            count *= size
        nbytes = count * self.torch.empty(0, dtype=dtype).element_size()
        return self._wrapped(nbytes).view(dtype)[:count].view(shape)

    def tensor(self, values: Any, dtype: Any) -> Any:
        """`values` where kernels reach them."""
        made = self.torch.as_tensor(values).to(dtype)
        placed = self.empty(tuple(made.shape), dtype)
        placed.copy_(made)
        return placed

    def run(self, launch: Launch) -> None:
        """Put a launch into torch's current stream."""
        handle = 0 if self.emulated else int(self.torch.cuda.current_stream().cuda_stream)
        self.gpu.run(launch, handle)

    def synchronize(self) -> None:
        """Wait for everything."""
        if not self.emulated:
            self.torch.cuda.synchronize()

    def close(self) -> None:
        """Give back memory that no tensor uses; an emulated GPU's goes with the world."""
        if not self.emulated:
            self.torch.cuda.empty_cache()

    def _wrapped(self, nbytes: int) -> Any:
        import ctypes

        import numpy as np

        memory = self.gpu.allocate(-(-max(nbytes, 1) // 16) * 16)
        self._kept.append(memory)
        buffer = (ctypes.c_ubyte * memory.nbytes).from_address(memory.address)
        return self.torch.from_numpy(np.ctypeslib.as_array(buffer))


def world_here() -> World:
    """The first GPU of this machine.

    Raises:
        UnavailableError: there is no GPU, or torch does not see it.
    """
    gpu = Device()
    try:
        import torch
    except ModuleNotFoundError as error:
        raise UnavailableError("bench", "timing on a GPU needs torch, which is missing", "pip install torch") from error
    if not torch.cuda.is_available():
        raise UnavailableError("bench", f"torch {torch.__version__} sees no GPU", "Install a build of torch for CUDA.")
    return World(gpu)
