"""How computed tables are served, as people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recsmith.bench.units import show_count, show_seconds

from .output import grid, mark, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from recsmith.spec import Serving

_WAYS = {
    "compute": "computed when asked for",
    "cache": "computed but for hot ids",
    "materialise": "finished beforehand",
    "centroids": "those of centroids, near",
}


def render_servings(console: Console, ways: Sequence[Serving]) -> None:
    """Draw a line for each computed table; nothing when there is none."""
    if not ways:
        return
    lines = grid("computed table", "rows are", ">hot ids", "products", ">computing a batch")
    for way in ways:
        seconds = f"{show_seconds(way.seconds)} ({mark('modelled')})" if way.seconds else ""
        hot = show_count(way.hot) if way.hot else ""
        lines.add_row(plain(way.table), _WAYS[way.way], hot, way.precision, seconds)
    console.print(lines)
