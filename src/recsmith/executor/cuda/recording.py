"""What is recorded as a graph, and who records it: the driver alone, or torch where its operators take part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from recsmith.kernels.cuda.device import Device

Step = Callable[[int], None]
"""Puts something into the stream that it is given."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The work of a graph.

    Attributes:
        apart: sequences that need not wait for each other.
        then: what follows when all of them are done.
    """

    apart: tuple[tuple[Step, ...], ...]
    then: tuple[Step, ...] = ()


class Lane(Protocol):
    """Where graphs run, one at a time.

    Attributes:
        stream: the driver's handle.
    """

    @property
    def stream(self) -> int:
        """The driver's handle."""


class Replay(Protocol):
    """A recorded graph."""

    def launch(self, stream: int = 0) -> None:
        """Put the graph into a stream."""

    def close(self) -> None:
        """Give it back; nothing may still run."""


class Recorder(Protocol):
    """Makes graphs of steps."""

    def lane(self) -> Any:
        """A new lane."""

    def record(self, lane: Any, steps: Steps) -> Replay:
        """A graph of `steps`, to be launched in the lane."""


@dataclass(frozen=True, slots=True)
class DriverLane:
    """A stream of the driver's."""

    stream: int


class DriverRecorder:
    """Records kernels and copies by the driver; sequences that could run side by side run in turn."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def lane(self) -> DriverLane:
        """A new stream."""
        return DriverLane(self._device.stream())

    def record(self, lane: DriverLane, steps: Steps) -> Replay:
        """A graph of `steps`."""
        with self._device.recording(lane.stream) as graph:
            for sequence in (*steps.apart, steps.then):
                for step in sequence:
                    step(lane.stream)
        return graph
