"""Settings of this process that a fair comparison needs: allocator and placement of threads."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
# glibc's largest threshold on 64-bit systems: outputs up to this size are reused and not mapped afresh.
_LARGEST_THRESHOLD = 32 << 20
_KEEP_BYTES = 1 << 30


def keep_freed_memory() -> str:
    """Let glibc keep freed outputs for the next call, and say so.

    Rivals allocate an output a call. Without this each one is mapped and cleared page by page, which costs more
    than the look-up. The setting lasts as long as the process.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return "allocator as it is (no mallopt)"
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD)
    mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)
    mallopt(_M_TOP_PAD, 64 << 20)
    return "mallopt: outputs up to 32 MiB are reused without page faults"


def granted_cpus() -> list[int]:
    """The processors this process may use."""
    return sorted(os.sched_getaffinity(0))


@contextmanager
def pinned(threads: int) -> Iterator[str]:
    """Keep the caller on the first granted processor and every other thread on the rest; yields a description.

    Threads that already sit on a single processor (our pool pins its own) stay there. Call it when all engines
    have started theirs.
    """
    cpus = granted_cpus()
    caller = threading.get_native_id()
    before: dict[int, set[int]] = {}
    others = set(cpus[1:threads]) or set(cpus[1:]) or set(cpus)
    for task in map(int, os.listdir("/proc/self/task")):
        with suppress(OSError):
            had = os.sched_getaffinity(task)
            if len(had) > 1:
                before[task] = had
                os.sched_setaffinity(task, {cpus[0]} if task == caller else others)
    try:
        yield f"caller on cpu {cpus[0]}, other threads on {sorted(others)}"
    finally:
        for task, had in before.items():
            with suppress(OSError):
                os.sched_setaffinity(task, had)
