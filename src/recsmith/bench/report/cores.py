"""Picture: who holds what on which core, and how long each core is busy."""

from __future__ import annotations

from recsmith.bench.units import show_seconds

from .content import CoreLine
from .svg import FONT_WIDTH_PX, Scale, axis_x, line, picture, rect, text

WIDTH = 1040
_BAR = 34
_THIN = 12
_ROW = 74


def core_map(cores: tuple[CoreLine, ...], lower_bound_s: float) -> str:
    """A bar a core, cut into its tables, on an axis of seconds; a thin bar below it is what was measured."""
    left = 24 + FONT_WIDTH_PX * max(len(core.core) for core in cores)
    longest = max(_longest(core) for core in cores)
    scale = Scale(0.0, longest * 1.04, left, WIDTH - 90)
    bottom = 14 + _ROW * len(cores)
    parts = axis_x(scale, 10, bottom, show_seconds, count=6)
    for at, core in enumerate(cores):
        parts += _core(core, scale, left, 14 + at * _ROW)
    makespan = max(core.predicted.seconds for core in cores)
    parts.append(line(scale(makespan), 6, scale(makespan), bottom, "limit"))
    parts.append(text(scale(makespan) + 6, bottom - 2, "slowest core", "tick"))
    if lower_bound_s > 0:
        parts.append(line(scale(lower_bound_s), 6, scale(lower_bound_s), bottom, "bound"))
        parts.append(text(scale(lower_bound_s) - 6, bottom - 2, "lower bound", "tick", "end"))
    parts.sort(key=lambda part: part.startswith("<text"))  # labels above the lines that cross them
    return picture(WIDTH, bottom + 26, parts, "Busy time of each core, by table")


def _core(core: CoreLine, scale: Scale, left: float, top: float) -> list[str]:
    parts = [text(left - 10, top + 22, core.core, "name", "end")]
    start = 0.0
    for segment in sorted(core.segments, key=lambda segment: (not segment.owned, -segment.seconds)):
        x, stop = scale(start), scale(start + segment.seconds)
        holds = "owned by this core" if segment.owned else "shared with other cores"
        tip = f"{segment.table}: {segment.strategy}, {holds}, {show_seconds(segment.seconds)} (predicted)"
        classes = f"s-{segment.strategy}" + ("" if segment.owned else " shared")
        parts.append(rect(x, top, max(stop - x - 1.5, 0.5), _BAR, classes, tip))
        if stop - x > 10 + FONT_WIDTH_PX * len(segment.table):
            parts.append(text((x + stop) / 2, top + 21, segment.table, f"on-{segment.strategy} inside", "middle"))
        start += segment.seconds
    if not core.segments:
        parts.append(rect(left, top, scale(core.predicted.seconds) - left, _BAR, "s-none shared"))
    end = scale(core.predicted.seconds)
    parts.append(text(end + 8, top + 21, show_seconds(core.predicted.seconds), "value"))
    if core.measured is not None:
        tip = f"{core.core}: {show_seconds(core.measured.seconds)} measured, {core.measured.runs} runs"
        parts.append(rect(left, top + _BAR + 4, scale(core.measured.seconds) - left, _THIN, "seen", tip))
        label = f"{show_seconds(core.measured.seconds)} measured"
        parts.append(text(scale(core.measured.seconds) + 8, top + _BAR + 14, label, "tick"))
    return parts


def _longest(core: CoreLine) -> float:
    return max(core.predicted.seconds, core.measured.seconds if core.measured else 0.0)
