"""Huge pages: what the kernel offers, and how to switch it on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .system import System

_THP = "sys/kernel/mm/transparent_hugepage/enabled"
ENABLE_COMMAND = f"echo madvise | sudo tee /{_THP}"


@dataclass(frozen=True)
class HugePages:
    """How huge pages can be had.

    Attributes:
        transparent: mode of transparent huge pages: `always`, `madvise`, `never`, or None when not offered.
    """

    transparent: str | None

    @property
    def available(self) -> bool:
        """Whether a program that asks is given huge pages."""
        return self.transparent in ("always", "madvise")


def read_pages(system: System) -> HugePages:
    """What the kernel offers."""
    chosen = re.search(r"\[(\w+)\]", system.text(_THP) or "")
    return HugePages(chosen[1] if chosen else None)
