"""The few shapes that the charts are drawn with. Colours are CSS classes, so that light and dark come for free."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

FONT_WIDTH_PX = 6.4  # mean width of a character at 12 px; labels that would be wider than their box are left out


@dataclass(frozen=True, slots=True)
class Scale:
    """Values [low, high] to pixels [start, stop], linear or logarithmic."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False
    base: float = 10.0

    def __call__(self, value: float) -> float:
        """The pixel of `value`; values outside are drawn at the edge."""
        clipped = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(clipped / self.low) / math.log(self.high / self.low)
        else:
            share = (clipped - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values inside the scale, about `count` of them."""
        if self.log:
            low, high = math.log(self.low, self.base), math.log(self.high, self.base)
            powers = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
            return [self.base**power for power in powers[:: max(1, math.ceil(len(powers) / (count + 1)))]]
        step = _round_step((self.high - self.low) / count)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def log_scale(values: list[float], start: float, stop: float, *, room: float = 1.3, base: float = 10.0) -> Scale:
    """A logarithmic scale that holds all of `values` and at least one power of `base`, where the ticks stand."""
    low, high = min(values) / room, max(values) * room
    if high / low < base * 1.2:
        widen = math.sqrt(base * 1.2 / (high / low))
        low, high = low / widen, high * widen
    return Scale(low, high, start, stop, log=True, base=base)


def text(x: float, y: float, content: str, classes: str = "", anchor: str = "start") -> str:
    """A label; `anchor` is start, middle or end."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{classes}" text-anchor="{anchor}">{escape(content)}</text>'


def rect(x: float, y: float, width: float, height: float, classes: str, tip: str = "", radius: float = 2) -> str:
    """A box; `tip` appears under the pointer."""
    box = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}" rx="{radius}"'
    return f'<rect {box} class="{classes}"{_tip(tip)}/>'


def circle(x: float, y: float, radius: float, classes: str, tip: str = "") -> str:
    """A dot."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" class="{classes}"{_tip(tip)}/>'


def line(x1: float, y1: float, x2: float, y2: float, classes: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{classes}"/>'


def path(points: list[tuple[float, float]], classes: str, *, closed: bool = False) -> str:
    """A line through `points`, or the area inside it."""
    steps = " ".join(f"{'M' if i == 0 else 'L'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(points))
    return f'<path d="{steps}{" Z" if closed else ""}" class="{classes}"/>'


def picture(width: float, height: float, parts: list[str], label: str) -> str:
    """The parts as one drawing that scales with the page; `label` is read out to those who cannot see it."""
    head = f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(label, quote=True)}">'
    return head + "".join(parts) + "</svg>"


def axis_x(scale: Scale, top: float, bottom: float, show: Callable[[float], str], count: int = 5) -> list[str]:
    """Vertical grid lines with their values below."""
    parts = []
    for tick in scale.ticks(count):
        parts.append(line(scale(tick), top, scale(tick), bottom, "grid"))
        parts.append(text(scale(tick), bottom + 16, show(tick), "tick", "middle"))
    return parts


def axis_y(scale: Scale, left: float, right: float, show: Callable[[float], str], count: int = 5) -> list[str]:
    """Horizontal grid lines with their values on the left."""
    parts = []
    for tick in scale.ticks(count):
        parts.append(line(left, scale(tick), right, scale(tick), "grid"))
        parts.append(text(left - 8, scale(tick) + 4, show(tick), "tick", "end"))
    return parts


def _tip(tip: str) -> str:
    return f' data-tip="{escape(tip, quote=True)}"' if tip else ""


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * 0.999)
