"""Descriptions of hardware. The menu, and how to open one: by name, or a profile saved here or elsewhere."""

from __future__ import annotations

from pathlib import Path

from recsmith.spec import Platform, Registry

from .restrict import restrict

__all__ = ["PLATFORMS", "load", "restrict"]

PLATFORMS = Registry(
    "platform",
    {
        "cpu": "recsmith.platforms.cpu:probe",
        "cuda": "recsmith.platforms.cuda:probe",
        "h200": "recsmith.platforms.cuda:h200",
        "h100": "recsmith.platforms.cuda:h100",
        "a100": "recsmith.platforms.cuda:a100",
    },
)


def load(name: str | Path) -> Platform:
    """The platform called `name`, or the profile saved in a `*.json` file.

    "cpu" and "cuda" probe this machine's processor and GPU; "h200", "h100" and "a100" are modelled.

    A profile is data: another machine's can be opened and planned for anywhere.

    Raises:
        UnknownNameError: there is no such platform.
        UnavailableError: a GPU is to be probed and there is none.
        FormatError: the file is absent or is no platform.
    """
    if str(name).endswith(".json") or isinstance(name, Path):
        return Platform.open(name)
    platform: Platform = PLATFORMS[name]()
    return platform
