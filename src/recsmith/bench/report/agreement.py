"""Picture: predicted beside measured, a dot for each thing that has both."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from recsmith.bench.units import show_seconds
from recsmith.spec import Estimate, Measurement

from .svg import axis_x, axis_y, circle, log_scale, path, picture, text

WIDTH = 1040
_HEIGHT = 420
_LEFT, _TOP, _SIDE = 84.0, 12.0, 350.0


@dataclass(frozen=True, slots=True)
class Pair:
    """Something that was predicted and then measured."""

    name: str
    group: str
    predicted: Estimate
    measured: Measurement

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted.seconds / self.measured.seconds - 1


def agreement(pairs: list[Pair]) -> str:
    """Dots on two equal logarithmic axes, with the diagonal and the band of a quarter either side."""
    seen = [pair.measured.seconds for pair in pairs]
    wanted = [pair.predicted.seconds for pair in pairs]
    across = log_scale(seen + wanted, _LEFT, _LEFT + 2 * _SIDE)
    up = log_scale(seen + wanted, _TOP + _SIDE, _TOP)
    low, high = across.low, across.high
    band = [(low, low * 1.25), (high / 1.25, high), (high, high), (high, high / 1.25), (low * 1.25, low), (low, low)]
    parts = [path([(across(x), up(y)) for x, y in band], "band", closed=True)]
    parts += axis_x(across, _TOP, _TOP + _SIDE, show_seconds)
    parts += axis_y(up, _LEFT, _LEFT + 2 * _SIDE, show_seconds)
    parts.append(path([(across(low), up(low)), (across(high), up(high))], "bound"))
    for pair in pairs:
        tip = (
            f"{pair.name}: {show_seconds(pair.predicted.seconds)} {pair.predicted.source}, "
            f"{show_seconds(pair.measured.seconds)} measured ({pair.error:+.0%})"
        )
        parts.append(circle(across(pair.measured.seconds), up(pair.predicted.seconds), 5.5, f"g-{pair.group}", tip))
    parts.append(text(_LEFT + _SIDE, _TOP + _SIDE + 40, "measured", "axis", "middle"))
    parts.append(text(_LEFT, _TOP - 1, "predicted", "axis"))
    parts += _summary(pairs)
    return picture(WIDTH, _HEIGHT, parts, "Predicted against measured seconds")


def typical_error(pairs: list[Pair]) -> float:
    """The median of |predicted / measured - 1|."""
    return median(abs(pair.error) for pair in pairs)


def _summary(pairs: list[Pair]) -> list[str]:
    inside = sum(abs(pair.error) <= 0.25 for pair in pairs)
    x = _LEFT + 2 * _SIDE + 36
    parts = [
        text(x, _TOP + 40, f"{typical_error(pairs):.0%}", "big"),
        text(x, _TOP + 62, "median error", "axis"),
        text(x, _TOP + 112, f"{inside} of {len(pairs)}", "big"),
        text(x, _TOP + 134, "within a quarter", "axis"),
    ]
    y = _TOP + 180
    for group in dict.fromkeys(pair.group for pair in pairs):
        parts += [circle(x + 6, y - 4, 5.5, f"g-{group}"), text(x + 20, y, group, "axis")]
        y += 24
    return parts
