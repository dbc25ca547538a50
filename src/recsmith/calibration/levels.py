"""The levels of memory of a platform, one of each kind: the first core's; its like are taken to be equal."""

from __future__ import annotations

import math
from dataclasses import dataclass

from recsmith.spec import Core, Memory, Platform
from recsmith.spec.platform import Page

from .probes import Spot

# Rough, for choosing how many rows fill a round; nothing else depends on it.
_ROW_S = {1: 1.2e-9, 2: 1.5e-9, 3: 4e-9}
_RAM_ROW_S = 25e-9


@dataclass(frozen=True)
class Level:
    """One level.

    Attributes:
        memory: the first core's.
        depth: 1 for the innermost.
        footprint_bytes: how far accesses spread when this level is measured.
        inner_share: part of them that the next inner level serves all the same.
        private: whether each core has its own.
        pages: page sizes worth measuring: the translation buffers cover private caches either way.
    """

    memory: Memory
    depth: int
    footprint_bytes: int
    inner_share: float
    private: bool
    pages: tuple[Page, ...]

    def spot(self, processors: tuple[int, ...], page: Page) -> Spot:
        """The level as `processors` together reach it."""
        row_s = _RAM_ROW_S if self.memory.kind == "ram" else _ROW_S.get(self.depth, _ROW_S[3])
        return Spot(processors, self.footprint_bytes, page, self.private, row_s)


def chain(platform: Platform) -> tuple[Memory, ...]:
    """The memories of the first core, innermost first."""
    return tuple(platform.memory(id) for id in platform.cores[0].memories)


def is_private(platform: Platform, memory: Memory) -> bool:
    """Whether only one core and its siblings reach it."""
    first = platform.cores[0]
    return set(memory.cores) <= {first.id, *first.siblings}


def levels(platform: Platform, ram_bytes: int) -> tuple[Level, ...]:
    """The levels to measure; `ram_bytes` is how much main memory may be used."""
    found: list[Level] = []
    for depth, memory in enumerate(chain(platform), start=1):
        inner_bytes = found[-1].memory.capacity_bytes if found else 0
        if memory.kind == "ram":
            footprint = ram_bytes
        else:
            # Well beyond what the next inner one holds, and well within it: part of a shared cache is others'.
            between = math.isqrt(inner_bytes * memory.capacity_bytes) or memory.capacity_bytes // 2
            footprint = min(max(between, 4 * inner_bytes), memory.capacity_bytes * 3 // 4, ram_bytes)
        share = min(inner_bytes / footprint, 0.9) if found else 0.0
        private = is_private(platform, memory)
        some = pages(platform)[:1] if private else pages(platform)
        found.append(Level(memory, depth, footprint // 64 * 64, share, private, some))
    return tuple(found)


def pages(platform: Platform) -> tuple[Page, ...]:
    """The page sizes that the platform offers, the preferred one first."""
    return ("huge", "4k") if "page:huge" in platform.capabilities else ("4k",)


def crews(platform: Platform, memory: Memory) -> tuple[tuple[int, ...], ...]:
    """Sets of processors to measure with: 1, 2, 4 ... and all that reach the memory (all cores, if private)."""
    reach = platform.cores if is_private(platform, memory) else _reaching(platform, memory)
    # Siblings share a private cache: only one of them measures it.
    if is_private(platform, memory):
        reach = tuple(core for at, core in enumerate(reach) if not set(core.siblings) & {c.id for c in reach[:at]})
    processors = tuple(core.index for core in reach)
    sizes = {1, len(processors)}
    if not is_private(platform, memory):
        sizes |= {2**n for n in range(len(processors).bit_length()) if 2**n <= len(processors)}
    return tuple(processors[:size] for size in sorted(sizes))


def _reaching(platform: Platform, memory: Memory) -> tuple[Core, ...]:
    return tuple(core for core in platform.cores if core.id in memory.cores)


def like(platform: Platform, memory: Memory) -> tuple[str, ...]:
    """Ids of the memories that stand where `memory` stands in the first core's chain, for each core."""
    depth = platform.cores[0].memories.index(memory.id)
    return tuple(dict.fromkeys(core.memories[depth] for core in platform.cores if len(core.memories) > depth))
