"""Settings of this process that a fair comparison needs: allocator and placement of threads."""

from __future__ import annotations

import ctypes
import os
import resource
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

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


def waited_s() -> float:
    """Seconds that this process's threads have been ready to run but were not: others had the processor.

    Always 0 where the system does not tell.
    """
    total = 0
    for task in os.listdir("/proc/self/task"):
        with suppress(OSError, ValueError, IndexError):
            total += int(Path(f"/proc/self/task/{task}/schedstat").read_text().split()[1])
    return total / 1e9


def preemptions() -> int:
    """Times that a thread of this process, ended ones included, lost its processor to another process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


class Pins:
    """Keeps the caller on the first granted processor and every other thread on the rest of those in use.

    Threads that already sit on a single processor (our pool pins its own) stay there, but for those that a pinned
    caller has started and that share its processor.
    """

    def __init__(self, threads: int) -> None:
        self._cpus = granted_cpus()
        self._others = set(self._cpus[1:threads]) or set(self._cpus[1:]) or set(self._cpus)
        self._caller = threading.get_native_id()
        self._before: dict[int, set[int]] = {}

    def __enter__(self) -> Self:
        self.apply()
        return self

    def __exit__(self, *error: object) -> None:
        for task, had in self._before.items():
            with suppress(OSError):
                os.sched_setaffinity(task, had)

    def apply(self) -> None:
        """Place all threads there are by now; call it again when there may be new ones."""
        first = {self._cpus[0]}
        for task in map(int, os.listdir("/proc/self/task")):
            with suppress(OSError):
                had = os.sched_getaffinity(task)
                wanted = first if task == self._caller else self._others
                if had != wanted and (len(had) > 1 or had == first):
                    self._before.setdefault(task, set(self._cpus) if had == first else had)
                    os.sched_setaffinity(task, wanted)

    def __str__(self) -> str:
        return f"caller on cpu {self._cpus[0]}, other threads on {sorted(self._others)}"
