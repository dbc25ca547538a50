"""Memory that a graph's launches need for themselves, kept as long as the graph."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from recsmith.kernels.cuda.device import Device, Memory


class Scratch(Protocol):
    """Gives launches memory of the GPU, at multiples of 16."""

    def put(self, words: bytes) -> int:
        """The address of a copy of `words`, which stays until the launches have run."""

    def room(self, nbytes: int) -> int:
        """The address of memory to write to."""


class GraphScratch:
    """`Scratch` of a device.

    Args:
        memories: takes what has to be kept with the graph.
    """

    def __init__(self, device: Device, memories: list[Memory]) -> None:
        self._device, self._memories = device, memories

    def put(self, words: bytes) -> int:
        """The address of a copy of `words`."""
        self._memories.append(self._device.place(np.frombuffer(words, np.uint8)))
        return self._memories[-1].address

    def room(self, nbytes: int) -> int:
        """The address of memory to write to."""
        self._memories.append(self._device.allocate(nbytes))
        return self._memories[-1].address
