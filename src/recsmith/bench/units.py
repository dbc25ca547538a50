"""Bytes, seconds and counts as people write and read them."""

from __future__ import annotations

import re

_BYTES = {"": 1, "b": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_BYTES |= {f"{unit}b": size for unit, size in _BYTES.items() if unit not in ("", "b")}
_BYTES |= {f"{unit}ib": 1024**power for power, unit in enumerate("kmgt", start=1)}
_SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_bytes(text: str) -> int:
    """The number of bytes that "64GiB", "1.5 GB" or "4096" means.

    Raises:
        InputError: it is not a size.
    """
    return round(_parse(text, _BYTES, "size", "64GiB, 500MB or 4096"))


def parse_seconds(text: str) -> float:
    """The seconds that "10ms", "2 min" or "60" means.

    Raises:
        InputError: it is not a time.
    """
    return _parse(text, _SECONDS, "time", "10ms, 60s or 2min")


def show_bytes(nbytes: float) -> str:
    """A size with three digits and a binary unit: "2.01 GiB"."""
    size, units = float(nbytes), iter(("B", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    for larger in units:
        if abs(size) < 1023.5:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} B" if unit == "B" else f"{size:.3g} {unit}" if size < 999.5 else f"{size:.0f} {unit}"


def show_seconds(seconds: float) -> str:
    """A time with three digits and a fitting unit: "412 µs"."""
    if seconds == 0:
        return "0"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(seconds) >= 0.9995 * size:
            return f"{_three(seconds / size)} {unit}"
    return f"{_three(seconds / 1e-9)} ns"


def show_count(count: float) -> str:
    """A whole number with thin groups: "33,762,577"."""
    return f"{count:,.0f}"


def show_some(count: int, noun: str) -> str:
    """A number of things: "1 core", "2,048 samples"."""
    return f"{show_count(count)} {noun}{'' if count == 1 else 's'}"


def _three(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"


def _parse(text: str, units: dict[str, float] | dict[str, int], kind: str, examples: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zµ]*)\s*", text.lower())
    if match is None or match[2] not in units:
        from recsmith.spec import InputError  # here, so that showing a number does not load numpy

        raise InputError("read", f"'{text}' is not a {kind}", f"Write it as {examples}.")
    return float(match[1]) * units[match[2]]
