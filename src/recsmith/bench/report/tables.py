"""Picture: how large the tables are, and how each is looked up."""

from __future__ import annotations

from recsmith.bench.units import show_bytes, show_count

from .content import TableLine
from .svg import FONT_WIDTH_PX, axis_x, circle, line, log_scale, picture, text

WIDTH = 1040
_ROW = 20
_TOP = 8


def table_sizes(tables: tuple[TableLine, ...]) -> str:
    """One dot a table on a logarithmic axis of bytes, largest first; colour is the strategy."""
    ordered = sorted(tables, key=lambda table: -table.nbytes)
    row = _ROW if len(ordered) <= 40 else 14
    left = min(200.0, 24 + FONT_WIDTH_PX * max(len(table.name) for table in ordered))
    bottom = _TOP + row * len(ordered)
    scale = log_scale([float(table.nbytes) for table in ordered], left, WIDTH - 200, base=32)
    parts = axis_x(scale, _TOP, bottom, show_bytes, count=7)
    for at, table in enumerate(ordered):
        y = _TOP + (at + 0.5) * row
        tip = f"{table.name}: {show_count(table.rows)} rows of {table.dim} {table.format}, {show_bytes(table.nbytes)}"
        parts.append(text(left - 10, y + 4, _short(table.name), "name", "end"))
        parts.append(line(left, y, scale(table.nbytes), y, "stem"))
        parts.append(circle(scale(table.nbytes), y, 5.5, f"s-{table.strategies[0]}", tip))
        parts.append(text(WIDTH - 92, y + 4, f"{show_count(table.rows)} rows", "value", "end"))
        parts.append(text(WIDTH, y + 4, show_bytes(table.nbytes), "value", "end"))
    return picture(WIDTH, bottom + 26, parts, "Bytes of each table, largest first")


def _short(name: str, limit: int = 26) -> str:
    return name if len(name) <= limit else name[: limit - 1] + "…"
