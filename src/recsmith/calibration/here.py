"""Whether a platform is this machine, and what it takes to measure it."""

from __future__ import annotations

from importlib.util import find_spec

import psutil

from recsmith.platforms import load
from recsmith.spec import Platform, UnavailableError
from recsmith.spec.platform import Page

from .ground import Ground
from .levels import pages
from .probes import OUT_BYTES, Bench
from .trial import Clock

RAM_BYTES = 1 << 30
_FREE_SHARE = 0.2
_HUGE_BYTES = 2 << 20


def check_here(platform: Platform) -> None:
    """Return when `platform` can be measured here.

    Raises:
        UnavailableError: it cannot.
    """
    if find_spec("recsmith._native") is None:
        raise UnavailableError("measure", "the native module is not built", "Build it: make setup.")
    here = load("cpu")
    if platform.kind != "cpu" or platform.machine != here.machine:
        raise UnavailableError(
            "measure",
            f"'{platform.machine}' was asked for, and this is '{here.machine}'",
            "Measure on that machine; its profile can then be used here.",
        )


def make_bench(
    platform: Platform,
    ram_bytes: int,
    clock: Clock,
    some: tuple[Page, ...] | None = None,
    out_bytes: int = OUT_BYTES,
) -> Bench:
    """What the probes need: memory (of `some` page sizes, or all), the clock, the fastest instruction set.

    Args:
        out_bytes: how much each core may write.
    """
    from recsmith import _native

    nbytes = affordable(platform, ram_bytes, _FREE_SHARE)
    ground = Ground.take(nbytes, platform.cores[0].index, some or pages(platform), len(platform.cores), out_bytes)
    return Bench(ground, clock, _native.targets()[-1])


def affordable(platform: Platform, wanted_bytes: int, free_share: float) -> int:
    """Whole huge pages of `wanted_bytes`, of which no more than `free_share` of the free main memory is taken."""
    available = min(psutil.virtual_memory().available, platform.bind(platform.cores[0].id, "global").capacity_bytes)
    return min(wanted_bytes, int(available * free_share)) // _HUGE_BYTES * _HUGE_BYTES
