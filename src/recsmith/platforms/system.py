"""The operating system's files under a root that may be another machine's, recorded."""

from __future__ import annotations

import os
import re
from pathlib import Path

_SUFFIXES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class System:
    """Reads small text files below `root`; what is absent or unreadable is None, never an error.

    Attributes:
        live: whether this is the machine we run on.
    """

    def __init__(self, root: str | Path = "/") -> None:
        self.root = Path(root)
        self.live = self.root == Path("/")

    def text(self, path: str) -> str | None:
        """The file's content without surrounding blanks."""
        try:
            return (self.root / path).read_text(errors="replace").strip("\0 \t\n")
        except OSError:
            return None

    def integer(self, path: str) -> int | None:
        """The file's content as a number; None also for "max" and the like."""
        text = self.text(path)
        return int(text) if text and re.fullmatch(r"-?\d+", text) else None

    def cpus(self, path: str) -> tuple[int, ...] | None:
        """The file's content as a list of numbers such as "0-3,8"."""
        text = self.text(path)
        return None if text is None else parse_list(text)

    def numbered(self, folder: str, prefix: str) -> tuple[int, ...]:
        """The numbers n for which `folder` has an entry `prefix`n, ascending."""
        try:
            names = os.listdir(self.root / folder)
        except OSError:
            return ()
        pattern = re.compile(re.escape(prefix) + r"(\d+)")
        return tuple(sorted(int(match[1]) for name in names if (match := pattern.fullmatch(name))))

    def fields(self, path: str) -> dict[str, str]:
        """The `name: value` lines of a file; of repeated names the first."""
        found: dict[str, str] = {}
        for line in (self.text(path) or "").splitlines():
            name, colon, value = line.partition(":")
            if colon:
                found.setdefault(name.strip(), value.strip())
        return found

    def usable_cpus(self) -> tuple[int, ...] | None:
        """The processors that the process may be scheduled on (its affinity), or None where nothing says."""
        if self.live and hasattr(os, "sched_getaffinity"):
            return tuple(sorted(os.sched_getaffinity(0)))
        listed = self.fields("proc/self/status").get("Cpus_allowed_list")
        return None if listed is None else parse_list(listed)


def parse_list(text: str) -> tuple[int, ...]:
    """The numbers of a list such as "0-3,8", ascending; words that are not numbers are passed over."""
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if match:
            found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(sorted(found))


def parse_size(text: str | None) -> int | None:
    """Bytes of a size such as "48K", or None."""
    match = re.fullmatch(r"(\d+)([KMG]?)B?", text or "")
    return int(match[1]) * _SUFFIXES[match[2]] if match else None
