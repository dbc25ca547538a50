"""A platform as the cost model walks it: from each core outwards, with a speed at every level."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, cached_property

from recsmith.spec import Memory, Platform, Role, RowDtype

from .curves import Speeds, missing

ONLY_IN_COMPANY = ("setup", "tiles", "filing", "output beside others", "output crowded")
"""Parts that no measurement of its own shows: they count where a platform has a factor for them."""

_NUMBER = re.compile(r"[._#@-]\d+$")


class Machine:
    """Levels and speeds of a platform, looked up once.

    Args:
        platform: the machine.
        speeds: what knows the speed of a memory.
    """

    def __init__(self, platform: Platform, speeds: Callable[[Memory], Speeds]) -> None:
        self.platform = platform
        self.memories = {memory.id: memory for memory in platform.memories}
        self._cores = {core.id: core for core in platform.cores}
        self._speeds = {memory.id: speeds(memory) for memory in platform.memories}
        self._kinds: dict[str, int] = {}
        self._paths: dict[tuple[str, Role], tuple[Memory, ...]] = {}
        self._gather: dict[tuple[int, int, int, float], tuple[float, ...]] = {}
        self._decode: dict[tuple[int, str, int, float], float] = {}
        self._stream: dict[tuple[str, str, int, int], float] = {}

    @cached_property
    def caches(self) -> tuple[Memory, ...]:
        """All caches."""
        return tuple(memory for memory in self.platform.memories if memory.kind == "cache")

    def flops_per_s(self, core: str) -> float:
        """Peak arithmetic of a core; 0 when unknown."""
        return self._cores[core].flops_per_s

    def in_company(self, parts: dict[str, float]) -> dict[str, float]:
        """Seconds measured alone, as they are in whole look-ups."""
        factors = self.platform.factors
        return {p: seconds * factors.get(p, 0.0 if p in ONLY_IN_COMPANY else 1.0) for p, seconds in parts.items()}

    def kind(self, core: str) -> int:
        """A number that cores share whose memories are alike and that compute alike."""
        if not self._kinds:
            numbers: dict[object, int] = {}
            for each in self._cores.values():
                memories = tuple(map(self._alike, each.memories))
                roles = tuple(sorted((role, self._alike(memory)) for role, memory in each.roles.items()))
                self._kinds[each.id] = numbers.setdefault((memories, roles, each.flops_per_s), len(numbers))
        return self._kinds[core]

    def _alike(self, id: str) -> tuple[object, ...]:
        memory = self.memories[id]
        shared = id if len(memory.cores) > 1 else ""
        return (label(memory), shared, memory.kind, memory.capacity_bytes, memory.persistent, memory.curves)

    def keeps(self, core: str) -> bool:
        """Whether what plays `local` for the core keeps its content from one batch to the next."""
        role = self._cores[core].roles.get("local")
        return role is None or self.memories[role].persistent

    def path(self, core: str, role: Role) -> tuple[Memory, ...]:
        """The memories in which a read of what plays `role` may end, innermost first.

        Scratchpads, neighbours' and staging memory hold what they are told to and are the whole path. All else goes
        through the caches towards global memory: a cache that plays `local` keeps its rows by being used.
        """
        key = (core, role)
        if key not in self._paths:
            bound = self.memories[self._cores[core].roles[role]]
            if role == "staging" or bound.kind in ("scratchpad", "remote"):
                self._paths[key] = (bound,)
            else:
                chain = (self.memories[id] for id in self._cores[core].memories)
                home = self.memories[self._cores[core].roles["global"]]
                self._paths[key] = (*(memory for memory in chain if memory.kind == "cache"), home)
        return self._paths[key]

    def gather_s(self, path: tuple[Memory, ...], row_bytes: int, active_cores: int, alone: float) -> tuple[float, ...]:
        """Seconds per row at each level of `path`, `alone` of which make a vector each.

        An inner level is never dearer than an outer one: noise only ever adds.

        Raises:
            UnavailableError: the profile does not say.
        """
        key = (id(path), row_bytes, active_cores, alone)  # Paths are made once and kept, by `path`.
        if key not in self._gather:
            levels, least = [], float("inf")
            for memory in reversed(path):
                seconds = self._speeds[memory.id].gather_s(row_bytes, active_cores, alone)
                if seconds is None:
                    raise missing(memory, f"random rows of {row_bytes} bytes")
                least = min(least, seconds)
                levels.append(least)
            self._gather[key] = tuple(reversed(levels))
        return self._gather[key]

    def widened_s(self, memory: Memory, row_bytes: int, active_cores: int, spread_bytes: float) -> float:
        """Seconds that a row of `memory` takes longer, being spread over `spread_bytes`."""
        return self._speeds[memory.id].widened_s(row_bytes, active_cores, spread_bytes)

    def decode_s(self, path: tuple[Memory, ...], dtype: RowDtype, dim: int, alone: float) -> float:
        """Seconds to decode one row, wherever it was found: the nearest memory of `path` tells."""
        key = (id(path), dtype, dim, alone)
        if key not in self._decode:
            self._decode[key] = 0.0 if dtype == "fp32" else self._speeds[path[0].id].decode_s(dtype, dim, alone)
        return self._decode[key]

    def stream_s(self, memory: Memory, access: str, active_cores: int) -> float:
        """Seconds per byte in order.

        Raises:
            UnavailableError: the profile does not say.
        """
        return self._per_byte(memory, access, 0, active_cores)

    def columns_s(self, memory: Memory, access: str, row_bytes: int, active_cores: int) -> float:
        """Seconds per byte of writing pieces of `row_bytes` that lie a sample's output apart.

        Raises:
            UnavailableError: the profile does not say.
        """
        return self._per_byte(memory, access, max(row_bytes, 1), active_cores)

    def _per_byte(self, memory: Memory, access: str, row_bytes: int, active_cores: int) -> float:
        key = (memory.id, access, row_bytes, active_cores)
        if key not in self._stream:
            speeds = self._speeds[memory.id]
            in_order = row_bytes == 0
            seconds = (
                speeds.stream_s(access, active_cores) if in_order else speeds.columns_s(access, row_bytes, active_cores)
            )
            if seconds is None:
                raise missing(memory, access)
            self._stream[key] = seconds
        return self._stream[key]


@cache
def _short(id: str) -> str:
    return _NUMBER.sub("", id.rpartition("/")[2])


def label(memory: Memory) -> str:
    """A memory's name without its place in the tree: "l2" for "node0/cpu0/l2.3"."""
    return _short(memory.id)
