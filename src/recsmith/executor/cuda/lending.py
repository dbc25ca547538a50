"""Vectors that stay on the GPU: arrays over a graph's own memory, which is used again when nobody refers to them.

B samples, L ids of a feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from recsmith.kernels.cuda.device import Device
from recsmith.kernels.cuda.driver import DriverError

from .slots import Recorded, Slots


class Loan:
    """A graph whose results somebody reads; given back with the last array that refers to it.

    Args:
        stream: in which the results are read; the graph runs again only when what is there by then has been done.
    """

    def __init__(self, slots: Slots, recorded: Recorded, device: Device, stream: int) -> None:
        self._slots, self._recorded, self._device, self._stream = slots, recorded, device, stream
        recorded.lent = True

    def __del__(self) -> None:
        # The driver may be gone before the last array is.
        with suppress(DriverError):
            self._device.activate()
            self._recorded.after = self._device.event(self._stream)
        self._slots.give(self._recorded)


class DeviceArray:
    """A float32 array on the GPU, for torch, CuPy or Numba: `torch.as_tensor(array, device="cuda")` copies nothing.

    Attributes:
        shape: elements along each axis.
        address: of the first element.
    """

    dtype = "float32"

    def __init__(self, address: int, shape: tuple[int, ...], loan: Loan | None = None) -> None:
        self.address, self.shape, self._loan = address, shape, loan

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3; the array is complete, so that no stream need wait."""
        return {
            "shape": self.shape,
            "typestr": "<f4",
            "data": (self.address, False),
            "strides": None,
            "stream": None,
            "version": 3,
        }


@dataclass(frozen=True, slots=True)
class DeviceLooked:
    """The look-up's output on the GPU.

    Attributes:
        pooled: [B, width], features side by side in the model's order.
        sequences: feature name to [L, dim] for features with pooling `none`.
        replaced: ids that an `out_of_range` policy replaced.
    """

    pooled: DeviceArray
    sequences: Mapping[str, DeviceArray]
    replaced: int = 0
