"""What the container allows: processors, processor time and memory, for control groups version 1 and 2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from .system import System

_MOUNT = "sys/fs/cgroup"
# Version 1 writes "no limit" as the largest page-aligned number.
_UNLIMITED_BYTES = 1 << 60


@dataclass(frozen=True)
class Limits:
    """Limits of the process's control group and all its parents; None means none.

    Attributes:
        cpus: processors' worth of time (2.5 means two and a half).
        cpu_set: processors that may be used.
        memory_bytes: how much memory may be used.
    """

    cpus: float | None = None
    cpu_set: tuple[int, ...] | None = None
    memory_bytes: int | None = None


def read_limits(system: System) -> Limits:
    """The tightest limits from the process's control group outwards."""
    groups = _groups(system)
    quotas = [_quota_v2(system, folder) for folder in _folders(groups, "")]
    quotas += [_quota_v1(system, folder) for folder in _folders(groups, "cpu")]
    memory = [system.integer(f"{folder}/memory.max") for folder in _folders(groups, "")]
    memory += [system.integer(f"{folder}/memory.limit_in_bytes") for folder in _folders(groups, "memory")]
    sets = [system.cpus(f"{folder}/cpuset.cpus.effective") for folder in _folders(groups, "")]
    sets += [system.cpus(f"{folder}/cpuset.cpus") for folder in _folders(groups, "cpuset")]
    return Limits(
        cpus=min((quota for quota in quotas if quota), default=None),
        cpu_set=min((cpus for cpus in sets if cpus), key=len, default=None),
        memory_bytes=min((limit for limit in memory if limit and 0 < limit < _UNLIMITED_BYTES), default=None),
    )


def _groups(system: System) -> dict[str, str]:
    """The process's group by controller; version 2's has the empty name."""
    found = {"": "/", "cpu": "/", "memory": "/", "cpuset": "/"}
    for line in (system.text("proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _folders(groups: dict[str, str], controller: str) -> list[str]:
    """Folders of the group and its parents. Inside a container the outermost one is the container's own."""
    mount = f"{_MOUNT}/{controller}" if controller else _MOUNT
    path = PurePosixPath(groups[controller])
    names = ["" if str(part) == "/" else str(part) for part in (path, *path.parents)]
    return [mount + name for name in dict.fromkeys(names) if ".." not in name]


def _quota_v2(system: System, folder: str) -> float | None:
    words = (system.text(f"{folder}/cpu.max") or "").split()
    if len(words) != 2 or not all(word.isdigit() for word in words) or words[1] == "0":
        return None
    return int(words[0]) / int(words[1])


def _quota_v1(system: System, folder: str) -> float | None:
    quota = system.integer(f"{folder}/cpu.cfs_quota_us")
    period = system.integer(f"{folder}/cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 and period > 0 else None
