"""Data caches of a processor, as the operating system reports them."""

from __future__ import annotations

from dataclasses import dataclass

from .system import System, parse_size

LINE_BYTES = 64


@dataclass(frozen=True)
class Cache:
    """One data or unified cache.

    Attributes:
        cpus: the processors that share it.
        assumed: nothing reported it; the size is a default.
    """

    level: int
    size_bytes: int
    line_bytes: int
    cpus: tuple[int, ...]
    assumed: bool = False

    @property
    def name(self) -> str:
        """What people call it: "l1d", "l2", "l3"."""
        return "l1d" if self.level == 1 else f"l{self.level}"


def read_caches(system: System, cpu: int, threads: tuple[int, ...]) -> tuple[Cache, ...]:
    """The data caches of processor `cpu`, innermost first.

    Virtual machines and containers often report none: then a first and a second level of the size that most
    server cores of the last ten years have at least, private to the core (`threads`), marked as assumed.
    """
    folder = f"sys/devices/system/cpu/cpu{cpu}/cache"
    found = [cache for n in system.numbered(folder, "index") if (cache := _read(system, f"{folder}/index{n}", threads))]
    levels = {cache.level: cache for cache in found}
    for level, size_bytes in ((1, 32 << 10), (2, 512 << 10)):
        levels.setdefault(level, Cache(level, size_bytes, LINE_BYTES, threads, assumed=True))
    return tuple(levels[level] for level in sorted(levels))


def _read(system: System, folder: str, threads: tuple[int, ...]) -> Cache | None:
    level = system.integer(f"{folder}/level")
    size_bytes = parse_size(system.text(f"{folder}/size"))
    if system.text(f"{folder}/type") not in ("Data", "Unified") or not level or not size_bytes:
        return None
    line_bytes = system.integer(f"{folder}/coherency_line_size") or LINE_BYTES
    return Cache(level, size_bytes, line_bytes, system.cpus(f"{folder}/shared_cpu_list") or threads)
