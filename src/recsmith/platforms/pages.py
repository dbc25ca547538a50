"""Huge pages: what the kernel offers, and how to switch it on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .system import System

_THP = "sys/kernel/mm/transparent_hugepage/enabled"
_POOLS = "sys/kernel/mm/hugepages"
ENABLE_COMMAND = f"echo madvise | sudo tee /{_THP}"


@dataclass(frozen=True)
class HugePages:
    """How huge pages can be had.

    Attributes:
        transparent: mode of transparent huge pages: `always`, `madvise`, `never`, or None when not offered.
        reserved: free pages of each reserved pool, by page size in kB.
    """

    transparent: str | None
    reserved: dict[int, int]

    @property
    def available(self) -> bool:
        """Whether a program that asks is given huge pages."""
        return self.transparent in ("always", "madvise")


def read_pages(system: System) -> HugePages:
    """What the kernel offers."""
    chosen = re.search(r"\[(\w+)\]", system.text(_THP) or "")
    sizes = _pool_sizes(system)
    free = {size: system.integer(f"{_POOLS}/hugepages-{size}kB/free_hugepages") or 0 for size in sizes}
    return HugePages(chosen[1] if chosen else None, free)


def _pool_sizes(system: System) -> list[int]:
    try:
        names = [entry.name for entry in (system.root / _POOLS).iterdir()]
    except OSError:
        return []
    return sorted(int(match[1]) for name in names if (match := re.fullmatch(r"hugepages-(\d+)kB", name)))
