"""A picture of paths: for each platform latency over query size, and quality over bytes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

from recsmith.api import Explored
from recsmith.bench.units import show_bytes, show_count, show_seconds
from recsmith.spec import Path

from .svg import Scale, axis_x, axis_y, circle, line, log_scale, path, picture, rect, text

WIDTH, HEIGHT = 1040, 360
_LEFT, _MIDDLE, _GAP = 84, 470, 90
_TOP, _BELOW, _LINE = 40, 60, 18
_OWN_STYLE = (
    ".page { fill: var(--surface) } .pale { opacity: .3 } .fast.curve { stroke-dasharray: 5 4 } "
    ".fast.mark { fill: var(--surface); stroke-width: 2 }"
)


class _Style(NamedTuple):
    """How a candidate's paths are drawn: eight colours, then the same with squares for dots."""

    colour: str
    square: bool

    def classes(self, each: Path, found: Explored) -> str:
        way = " fast" if each.way == "fast" else ""
        return self.colour + way + ("" if each.name in found.kept else " pale")

    def mark(self, x: float, y: float, radius: float, classes: str, tip: str = "") -> str:
        if self.square:
            return rect(x - radius, y - radius, 2 * radius, 2 * radius, f"{classes} mark", tip, radius=0)
        return circle(x, y, radius, f"{classes} mark", tip)


_Styles = dict[str, _Style]


def drawn(found: Explored) -> str:
    """An SVG file; paths that another beats are pale, the fast way of a candidate is dashed and hollow."""
    styles = {each.name: _Style(f"e{at % 8}", square=at // 8 % 2 == 1) for at, each in enumerate(found.candidates)}
    parts, top = [], 0.0
    for name in dict.fromkeys(each.platform for each in found.paths):
        own = [each for each in found.paths if each.platform == name]
        parts.append(f'<g transform="translate(0 {top:.0f})">{"".join(_panel(name, own, found, styles))}</g>')
        top += max(HEIGHT, _TOP + _LINE * len(own) + _BELOW)
    style = (files("recsmith.bench.report") / "style.css").read_text()
    page = rect(0, 0, WIDTH, top, "page", radius=0)
    inside = [f"<style>{style} {_OWN_STYLE}</style>", page, *parts]
    return picture(WIDTH, top, inside, "Paths: latency, quality and bytes").replace(
        "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1
    )


def _panel(name: str, own: Sequence[Path], found: Explored, styles: _Styles) -> list[str]:
    sources = sorted({latency.source for each in own for latency in each.latencies})
    title = f"{name}: room for {show_bytes(found.rooms[name])}, latency {' and '.join(sources)}"
    parts = [text(_LEFT, 22, title, "name strong")]
    parts += _latencies(own, found, styles)
    return parts + _qualities(own, found, styles)


def _latencies(own: Sequence[Path], found: Explored, styles: _Styles) -> list[str]:
    bottom = HEIGHT - _BELOW
    across = log_scale([float(query) for query in found.queries], _LEFT, _MIDDLE, room=1.15)
    up = log_scale([latency.seconds for each in own for latency in each.latencies], bottom, _TOP)
    parts = axis_y(up, _LEFT, _MIDDLE, show_seconds)
    for query in found.queries:
        parts.append(line(across(query), _TOP, across(query), bottom, "grid"))
        parts.append(text(across(query), bottom + 16, show_count(query), "tick", "middle"))
    parts.append(text((_LEFT + _MIDDLE) / 2, bottom + 38, "samples a query", "axis", "middle"))
    for each in own:
        style = styles[each.representation]
        classes = style.classes(each, found)
        points = [(across(latency.query), up(latency.seconds)) for latency in each.latencies]
        parts.append(path(points, f"{classes} curve"))
        for (x, y), latency in zip(points, each.latencies, strict=True):
            tip = f"{each.name}: {show_seconds(latency.seconds)} ({latency.source})"
            parts.append(style.mark(x, y, 3.5, classes, tip))
    return parts


def _qualities(own: Sequence[Path], found: Explored, styles: _Styles) -> list[str]:
    left, right, bottom = _MIDDLE + _GAP, WIDTH - 250, HEIGHT - _BELOW
    across = log_scale([float(each.nbytes) for each in own], left, right, base=2.0)
    losses = [each.logloss for each in own]
    room = max(max(losses) - min(losses), 1e-4) * 0.1
    up = Scale(min(losses) - room, max(losses) + room, bottom, _TOP)
    parts = axis_y(up, left, right, lambda value: f"{value:.4f}")
    parts += axis_x(across, _TOP, bottom, show_bytes, count=3)
    parts.append(text((left + right) / 2, bottom + 38, "logloss over bytes", "axis", "middle"))
    for at, each in enumerate(own):
        style = styles[each.representation]
        classes = style.classes(each, found)
        tip = f"{each.name}: logloss {each.logloss:.4f}, accuracy {each.accuracy:.4f}, {show_bytes(each.nbytes)}"
        parts.append(style.mark(across(each.nbytes), up(each.logloss), 5, classes, tip))
        y = _TOP + _LINE * at
        parts.append(style.mark(right + 24, y, 5, classes))
        parts.append(text(right + 36, y + 4, _short(each), "name" if each.name in found.kept else "tick"))
    return parts


def _short(each: Path) -> str:
    return each.representation + (", fast" if each.way == "fast" else "")
