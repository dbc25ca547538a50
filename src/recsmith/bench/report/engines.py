"""Pictures that compare engines: bars for one batch size, lines over batch sizes."""

from __future__ import annotations

from itertools import pairwise

from recsmith.bench.records import OURS, is_ours
from recsmith.bench.units import show_count, show_seconds

from .content import Case, Timing
from .svg import FONT_WIDTH_PX, Scale, axis_x, axis_y, circle, line, log_scale, path, picture, rect, text

WIDTH = 1040
_ROW, _BAR = 32, 20
_HEIGHT = 380


def bars(case: Case) -> str:
    """One bar an engine, fastest first, with quartile whiskers; the dashed line is the machine's bound."""
    ordered = sorted(case.timings, key=lambda timing: timing.seen.seconds)
    left = 24 + FONT_WIDTH_PX * 1.1 * max(len(timing.engine) for timing in ordered)
    scale = Scale(0.0, max(timing.seen.q3_s for timing in ordered) * 1.02, left, WIDTH - 190)
    bottom = 10 + _ROW * len(ordered)
    parts = axis_x(scale, 4, bottom, show_seconds, count=6)
    ours = next((timing for timing in ordered if timing.engine == OURS), None)
    for at, timing in enumerate(ordered):
        parts += _bar(timing, ours, scale, left, 10 + at * _ROW)
    if case.bound_s > 0:
        parts.append(line(scale(case.bound_s), 2, scale(case.bound_s), bottom, "bound"))
    return picture(WIDTH, bottom + 26, parts, f"Time of each engine: {case.title}")


def _bar(timing: Timing, ours: Timing | None, scale: Scale, left: float, top: float) -> list[str]:
    seen, mine = timing.seen, is_ours(timing.engine)
    tip = f"{timing.engine} {timing.version}: {show_seconds(seen.seconds)}, quartiles {show_seconds(seen.q1_s)} to "
    tip += f"{show_seconds(seen.q3_s)}, {seen.runs} rounds (measured). {timing.settings}"
    middle = top + _BAR / 2
    colour = "measured" if timing.engine == OURS else "measured pale" if mine else "rival"
    parts = [
        text(left - 10, middle + 4, timing.engine, "name ours" if mine else "name", "end"),
        rect(left, top, scale(seen.seconds) - left, _BAR, colour, tip, radius=3),
        line(scale(seen.q1_s), middle, scale(seen.q3_s), middle, "whisker"),
    ]
    label = show_seconds(seen.seconds)
    if ours is not None and timing is not ours:
        label += f"  ·  {seen.seconds / ours.seen.seconds:.2f}×"
    parts.append(text(scale(max(seen.seconds, seen.q3_s)) + 10, middle + 4, label, "value strong" if mine else "value"))
    return parts


def curves(cases: tuple[Case, ...]) -> str:
    """A line an engine over batch sizes, both axes logarithmic, with the quartiles as a band."""
    engines = list(dict.fromkeys(timing.engine for case in cases for timing in case.timings))
    engines.sort(key=lambda engine: engine != OURS)
    points = {engine: _points(cases, engine) for engine in engines}
    across = log_scale([float(case.batch) for case in cases], 84, WIDTH - 190, room=1.15)
    times = [t for line_ in points.values() for _, seen in line_ for t in (seen.seen.q1_s, seen.seen.q3_s)]
    up = log_scale(times, _HEIGHT - 50, 14)
    parts = axis_y(up, 84, WIDTH - 190, show_seconds)
    for batch in sorted({case.batch for case in cases}):
        parts.append(line(across(batch), 14, across(batch), _HEIGHT - 50, "grid"))
        parts.append(text(across(batch), _HEIGHT - 34, show_count(batch), "tick", "middle"))
    parts.append(text((84 + WIDTH - 190) / 2, _HEIGHT - 10, "samples a batch", "axis", "middle"))
    for at, engine in reversed(list(enumerate(engines))):
        parts += _curve(points[engine], f"e{min(at, 7)}", across, up)
    ends = [(engine, up(points[engine][-1][1].seen.seconds)) for engine in engines]
    for engine, y in _spread(ends, 17):
        name = "name ours" if engine == OURS else "name"
        dot = f"e{min(engines.index(engine), 7)}"
        parts += [circle(WIDTH - 172, y, 5, dot), text(WIDTH - 160, y + 4, engine, name)]
    return picture(WIDTH, _HEIGHT, parts, "Latency of each engine by batch size")


def _points(cases: tuple[Case, ...], engine: str) -> list[tuple[int, Timing]]:
    found = [(case.batch, timing) for case in cases for timing in case.timings if timing.engine == engine]
    return sorted(found, key=lambda point: point[0])


def _curve(points: list[tuple[int, Timing]], colour: str, across: Scale, up: Scale) -> list[str]:
    upper = [(across(batch), up(timing.seen.q3_s)) for batch, timing in points]
    lower = [(across(batch), up(timing.seen.q1_s)) for batch, timing in points]
    parts = [path(upper + lower[::-1], f"{colour} ribbon", closed=True)]
    parts.append(path([(across(batch), up(timing.seen.seconds)) for batch, timing in points], f"{colour} curve"))
    for batch, timing in points:
        tip = f"{timing.engine}, batch {batch}: {show_seconds(timing.seen.seconds)} (measured, {timing.seen.runs} runs)"
        parts.append(circle(across(batch), up(timing.seen.seconds), 4.5, colour, tip))
    return parts


def _spread(ends: list[tuple[str, float]], gap: float) -> list[tuple[str, float]]:
    """The labels top to bottom, pushed apart until none covers another."""
    placed = sorted(ends, key=lambda end: end[1])
    for _ in range(len(placed) * 8):
        for i, ((name_a, a), (name_b, b)) in enumerate(pairwise(placed)):
            if b - a < gap:
                push = (gap - (b - a)) / 2
                placed[i], placed[i + 1] = (name_a, a - push), (name_b, b + push)
    return placed
