"""Whether huge pages are really given: allocate some and look."""

from __future__ import annotations

import ctypes
import mmap
import re
from pathlib import Path

_PROBE_BYTES = 16 << 20
_HUGE_BYTES = 2 << 20


def granted_bytes(nbytes: int = _PROBE_BYTES) -> int:
    """Bytes that huge pages back after `nbytes` were asked for with madvise and written to; 0 where unsupported."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return 0
    # One huge page more than asked for: the mapping need not start at a boundary.
    with mmap.mmap(-1, nbytes + _HUGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as mapping:
        try:
            mapping.madvise(mmap.MADV_HUGEPAGE)
        except OSError:
            return 0
        for at in range(0, len(mapping), 4096):
            mapping[at] = 1
        view = ctypes.c_char.from_buffer(mapping)
        start = ctypes.addressof(view)
        del view
        return min(nbytes, huge_bytes(_smaps(), start, start + len(mapping)))


def huge_bytes(smaps: str, start: int, stop: int) -> int:
    """Bytes in huge pages of the mappings that overlap [start, stop), by the text of /proc/self/smaps."""
    total, inside = 0, False
    for line in smaps.splitlines():
        bounds = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if bounds:
            inside = int(bounds[1], 16) < stop and int(bounds[2], 16) > start
        elif inside and (match := re.match(r"AnonHugePages:\s*(\d+) kB", line)):
            total += int(match[1]) * 1024
    return total


def _smaps() -> str:
    try:
        return Path("/proc/self/smaps").read_text()
    except OSError:
        return ""
