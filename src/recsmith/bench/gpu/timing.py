"""Seconds on the GPU's clock: all sets of ids recorded as one graph, engines replayed in turns."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from recsmith.spec import Progress

from .engine import GpuEngine
from .world import World

MOST_SECONDS = 2.0
"""For all replays of one engine; slow ones get fewer rounds, but not below three."""


class Recording:
    """All sets of a case by one engine.

    Attributes:
        way: `graph`, or `calls` where recording failed or is not offered.
    """

    def __init__(self, world: World, engine: GpuEngine, sets: int) -> None:
        self._world, self._engine, self._sets = world, engine, sets
        self._graph: Any = None
        self.way = "calls"
        if not world.emulated and engine.graphable:
            self._graph, self.way = self._recorded(), "graph"

    def seconds(self) -> float:
        """Seconds a call, all sets once."""
        if self._world.emulated:
            start = time.perf_counter()
            self._all()
            return (time.perf_counter() - start) / self._sets
        torch, stream = self._world.torch, self._world.stream
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        with torch.cuda.stream(stream):
            first.record()
            if self._graph is None:
                self._all()
            else:
                self._graph.replay()
            last.record()
        last.synchronize()
        return float(first.elapsed_time(last)) * 1e-3 / self._sets

    def close(self) -> None:
        """Let go of the graph and its memory."""
        self._graph = None

    def _all(self) -> None:
        for at in range(self._sets):
            self._engine.call(at)

    def _recorded(self) -> Any:
        torch = self._world.torch
        with torch.cuda.stream(self._world.stream):
            for at in range(min(2, self._sets)):
                self._engine.call(at)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._world.stream):
            self._all()
        torch.cuda.synchronize()
        return graph


def in_turns(
    recordings: Mapping[str, Recording], rounds: int, progress: Progress | None = None
) -> dict[str, list[float]]:
    """Each engine's seconds a call, one number a round; the order rotates."""
    names = list(recordings)
    found: dict[str, list[float]] = {name: [] for name in names}
    spent = {name: 0.0 for name in names}
    for name in names:
        spent[name] = recordings[name].seconds()
    for turn in range(rounds):
        for step in range(len(names)):
            name = names[(turn + step) % len(names)]
            start = time.perf_counter()
            if turn >= 3 and spent[name] > MOST_SECONDS:
                continue
            found[name].append(recordings[name].seconds())
            spent[name] += time.perf_counter() - start
        if progress is not None:
            progress("measuring", turn + 1, rounds)
    return found


def copy_rate(world: World, nbytes: int) -> float:
    """Bytes a second, read and written, of a copy within the GPU's memory: what nothing that moves as much beats."""
    torch = world.torch
    source = world.empty((nbytes,), torch.uint8).zero_()
    target = world.empty((nbytes,), torch.uint8)

    class Copy:
        name, version, settings, op_based, graphable = "copy", "", "", False, True

        def call(self, at: int) -> Any:
            return target.copy_(source)

        def output(self, result: Any) -> Any:
            return result

        def close(self) -> None:
            return None

    recording = Recording(world, Copy(), 4)
    return 2 * nbytes / min(recording.seconds() for _ in range(5))
