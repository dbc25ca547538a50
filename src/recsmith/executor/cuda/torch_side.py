"""torch on the same GPU: tensors over memory of ours, its operators and our launches recorded as one graph.

torch and the driver share the GPU's primary context, so that addresses and streams of either are valid for both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from recsmith.kernels.cuda.device import Device
from recsmith.spec import UnavailableError

from ..linear import import_torch
from .recording import Recorder, Replay, Steps

Precision = Literal["fp32", "tf32", "fp16", "bf16"]
"""Of the dense part: `fp32` and `tf32` keep float32 vectors, the others round vectors and weights."""

ELEMENT: dict[Precision, Literal["fp32", "fp16", "bf16"]] = {
    "fp32": "fp32",
    "tf32": "fp32",
    "fp16": "fp16",
    "bf16": "bf16",
}
TORCH_TYPE = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


class TorchSide(Recorder, Protocol):
    """What a prediction wants of torch."""

    def tensor(self, address: int, shape: tuple[int, ...], dtype: str) -> Any:
        """A tensor over `address`, which must stay valid as long as it; dtype as in `ELEMENT`."""

    def parameter(self, array: NDArray[np.float32], dtype: str) -> Any:
        """A copy of `array` where the operators run."""


class TorchGpu:
    """torch's operators on the GPU.

    Args:
        precision: of float32 products while graphs are recorded; torch's own setting is left as it is otherwise.

    Raises:
        UnavailableError: torch is not installed, or was built without CUDA, or sees no GPU.
    """

    def __init__(self, device: Device, precision: Precision = "fp32") -> None:
        torch = import_torch()
        if not torch.cuda.is_available():
            problem = f"predictions on a GPU need torch with CUDA; torch {torch.__version__} sees no GPU"
            raise UnavailableError("run", problem, "Install a build of torch for CUDA; look-ups work without it.")
        self._torch, self._device = torch, device
        self._products = "high" if precision == "tf32" else "highest"

    def tensor(self, address: int, shape: tuple[int, ...], dtype: str) -> Any:
        """A tensor over memory of ours."""
        kind = getattr(self._torch, TORCH_TYPE[dtype])
        nbytes = int(np.prod(shape)) * self._torch.empty(0, dtype=kind).element_size()
        return self._torch.as_tensor(_Bytes(address, nbytes), device="cuda").view(kind).view(shape)

    def parameter(self, array: NDArray[np.float32], dtype: str) -> Any:
        """A copy on the GPU."""
        kind = getattr(self._torch, TORCH_TYPE[dtype])
        return self._torch.from_numpy(np.array(array, np.float32)).to("cuda", kind)

    def lane(self) -> TorchLane:
        """Two streams of torch's, the second for what runs beside."""
        return TorchLane(self._torch.cuda.Stream(), self._torch.cuda.Stream())

    def record(self, lane: TorchLane, steps: Steps) -> Replay:
        """A graph of `steps`; they run once before, so that libraries set themselves up and compilers compile."""
        torch = self._torch
        with torch.inference_mode(), self._settings(), torch.cuda.stream(lane.main):
            self._issue(lane, steps)
            lane.main.synchronize()
            graph = torch.cuda.CUDAGraph()
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                self._issue(lane, steps)
            finally:
                graph.capture_end()
        return TorchReplay(torch, graph, lane)

    def _issue(self, lane: TorchLane, steps: Steps) -> None:
        """Every sequence but the first in the second stream."""
        if len(steps.apart) > 1:
            lane.beside.wait_stream(lane.main)
        for at, sequence in enumerate(steps.apart):
            own = lane.beside if at else lane.main
            with self._torch.cuda.stream(own):
                for step in sequence:
                    step(own.cuda_stream)
        if len(steps.apart) > 1:
            lane.main.wait_stream(lane.beside)
        for step in steps.then:
            step(lane.stream)

    @contextmanager
    def _settings(self) -> Iterator[None]:
        before = self._torch.get_float32_matmul_precision()
        self._torch.set_float32_matmul_precision(self._products)
        try:
            yield
        finally:
            self._torch.set_float32_matmul_precision(before)


class TorchLane:
    """A stream in which graphs run, and one for what runs beside."""

    def __init__(self, main: Any, beside: Any) -> None:
        self.main, self.beside = main, beside
        self.stream: int = int(main.cuda_stream)


class TorchReplay:
    """A graph that torch recorded, with the memory of its intermediate results."""

    def __init__(self, torch: Any, graph: Any, lane: TorchLane) -> None:
        self._torch, self._graph, self._lane = torch, graph, lane

    def launch(self, stream: int = 0) -> None:
        """Put the graph into its lane."""
        assert stream == self._lane.stream, "a graph of torch's runs where it was recorded"
        with self._torch.cuda.stream(self._lane.main):
            self._graph.replay()

    def close(self) -> None:
        """Give graph and memory back."""
        self._graph.reset()


class _Bytes:
    """Bytes on the GPU as other libraries take them."""

    def __init__(self, address: int, nbytes: int) -> None:
        self.__cuda_array_interface__ = {
            "shape": (nbytes,),
            "typestr": "|u1",
            "data": (address, False),
            "strides": None,
            "version": 3,
        }
