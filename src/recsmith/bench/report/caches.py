"""A picture of caches for computed rows: hit rate and time by cache size, and time by nearness of centroids."""

from __future__ import annotations

from importlib.resources import files

from recsmith.bench.dhe import DheCell, DheRecord
from recsmith.bench.units import show_seconds

from .svg import Scale, axis_x, axis_y, circle, line, log_scale, path, picture, rect, text

WIDTH, HEIGHT = 1040, 380
_TOP, _BOTTOM = 48, 316
_PANELS = ((70, 340), (420, 690), (770, 1010))


def drawn(record: DheRecord) -> str:
    """An SVG file."""
    cells = {cell.engine: cell for cell in record.cells}
    caches = [cell for cell in record.cells if cell.engine.startswith("cache")]
    near = [cell for cell in record.cells if cell.engine.startswith("centroids")]
    options = record.options
    title = f"DHE, {options.rows:,} rows, {options.ids}, batch {options.batch:,}, {options.threads} threads: measured"
    parts = [rect(0, 0, WIDTH, HEIGHT, "page", radius=0), text(70, 22, title, "name strong")]
    parts += _hits(caches, options.rows * options.dim * 4) + _times(caches, cells, options.rows * options.dim * 4)
    parts += _nearness(near, cells)
    style = (files("recsmith.bench.report") / "style.css").read_text()
    more = ".page { fill: var(--surface) } .dashed { stroke-dasharray: 4 4; opacity: .6 }"
    svg = picture(WIDTH, HEIGHT, [f"<style>{style} {more}</style>", *parts], title)
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def _hits(caches: list[DheCell], whole: int) -> list[str]:
    left, right = _PANELS[0]
    across = log_scale([cell.kept_bytes / whole for cell in caches], left, right, room=1.4)
    up = Scale(0, 1, _BOTTOM, _TOP)
    parts = axis_y(up, left, right, lambda share: f"{share:.0%}") + axis_x(across, _TOP, _BOTTOM, _percent)
    parts += _curve([(across(c.kept_bytes / whole), up(c.expected_hits)) for c in caches], "e2 curve dashed", [])
    tips = [f"{c.engine}: {c.hit_rate:.1%} hits, {c.expected_hits:.1%} expected" for c in caches]
    parts += _curve([(across(c.kept_bytes / whole), up(c.hit_rate)) for c in caches], "e2 curve", tips)
    return [*parts, *_names(left, right, "hits (dashed: expected of the distribution)", "part of the rows kept")]


def _times(caches: list[DheCell], cells: dict[str, DheCell], whole: int) -> list[str]:
    left, right = _PANELS[1]
    across = log_scale([cell.kept_bytes / whole for cell in caches], left, right, room=1.4)
    levels = {name: cells[name].median_s for name in ("every id", "computed fp32", "materialised") if name in cells}
    up = log_scale([*levels.values(), *(cell.median_s for cell in caches)], _BOTTOM, _TOP)
    parts = axis_y(up, left, right, show_seconds) + axis_x(across, _TOP, _BOTTOM, _percent)
    for name, seconds in levels.items():
        parts += [
            line(left, up(seconds), right, up(seconds), "limit"),
            text(right, up(seconds) - 4, f"{name}: {show_seconds(seconds)}", "tick", "end"),
        ]
    tips = [f"{cell.engine}: {show_seconds(cell.median_s)}" for cell in caches]
    parts += _curve([(across(c.kept_bytes / whole), up(c.median_s)) for c in caches], "e0 curve", tips)
    return [*parts, *_names(left, right, "time a batch", "part of the rows kept")]


def _nearness(near: list[DheCell], cells: dict[str, DheCell]) -> list[str]:
    """Each number of centroids as a point: how far off rows are, and the time; the exact cache of 1 % beside them."""
    if not near:
        return []
    left, right = _PANELS[2]
    exact = cells.get("cache 1.00%")
    across = Scale(0, 1.05 * max(cell.error for cell in near), left, right)
    times = [cell.median_s for cell in near] + ([exact.median_s] if exact else [])
    up = Scale(0, 1.1 * max(times), _BOTTOM, _TOP)
    parts = axis_y(up, left, right, show_seconds) + axis_x(across, _TOP, _BOTTOM, lambda error: f"{error:.2g}", 4)
    tips = [f"{cell.engine}: {show_seconds(cell.median_s)}, error {cell.error:.2f}" for cell in near]
    points = [(across(cell.error), up(cell.median_s)) for cell in near]
    parts += _curve(points, "e1 curve", tips)
    for (x, y), cell in zip(points, near, strict=True):
        parts.append(text(x - 6, y - 6, cell.engine.split()[1], "tick", "end"))
    if exact:
        parts += [
            circle(across(0), up(exact.median_s), 4, "e0", "exact"),
            text(across(0) + 8, up(exact.median_s) - 6, "exact", "tick"),
        ]
    return [*parts, *_names(left, right, "time a batch by centroids, 1 % kept", "relative error of rows")]


def _curve(points: list[tuple[float, float]], classes: str, tips: list[str]) -> list[str]:
    colour = classes.split()[0]
    dots = [circle(x, y, 3.5, colour, tip) for (x, y), tip in zip(points, tips, strict=False)]
    return [path(points, classes), *dots]


def _names(left: float, right: float, above: str, below: str) -> list[str]:
    middle = (left + right) / 2
    return [text(left, _TOP - 8, above, "axis"), text(middle, _BOTTOM + 40, below, "axis", "middle")]


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
