"""The page: tiles, pictures, a table with every number, and where it all came from."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from pathlib import Path

from recsmith.bench.records import OURS, is_ours
from recsmith.bench.units import show_bytes, show_count, show_seconds
from recsmith.spec import Estimate, Measurement

from .agreement import Pair, agreement, typical_error
from .content import INTERACTION, Case, Content, Source, TableLine
from .cores import core_map
from .engines import bars, curves
from .tables import table_sizes

STRATEGY_TEXT = {
    "gm": "gm: row by row from memory",
    "l1": "l1: kept in the owner's private cache",
    "gm_ub": "gm_ub: streamed in chunks",
    "l1x2": "l1x2: kept by two cores together",
    "l1x4": "l1x4: kept by four cores together",
    "l1x8": "l1x8: kept by eight cores together",
    "l1_ub": "l1_ub: kept next to the registers",
}
_SCRIPT = """
const tip = document.getElementById('tip');
document.addEventListener('pointermove', e => {
  const t = e.target.closest('[data-tip]');
  tip.style.opacity = t ? 1 : 0;
  if (!t) return;
  tip.textContent = t.dataset.tip;
  tip.style.left = Math.min(e.clientX + 14, innerWidth - tip.offsetWidth - 10) + 'px';
  tip.style.top = Math.min(e.clientY + 16, innerHeight - tip.offsetHeight - 10) + 'px';
});
document.getElementById('theme').onclick = () => {
  const root = document.documentElement, dark = matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = (root.dataset.theme || (dark ? 'dark' : 'light')) === 'dark' ? 'light' : 'dark';
};
"""


def write(content: Content, path: str | Path) -> Path:
    """Write the page to `path` and return it. The file needs nothing else: no network, no other file."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(content), encoding="utf-8")
    return target


def page(content: Content) -> str:
    """The whole HTML document."""
    sections = (
        _sizes(content),
        _cores(content),
        _agreement(pairs(content)),
        _latency(content.latency),
        _rivals(content.cases),
        _details(content.tables),
        _notes(content.notes),
    )
    style = (files("recsmith.bench.report") / "style.css").read_text()
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(content.title)}</title><style>{style}</style></head><body><main>"
        f"{_header(content)}{_tiles(content)}{''.join(sections)}{_footer(content)}"
        f'</main><div id="tip"></div><script>{_SCRIPT}</script></body></html>\n'
    )


def pairs(content: Content) -> list[Pair]:
    """Everything on the page that was both predicted and measured."""
    tables = [Pair(t.name, "tables", t.predicted, t.measured) for t in content.tables if t.predicted and t.measured]
    cores = [Pair(c.core, "cores", c.alone, c.measured) for c in content.cores if c.alone and c.measured]
    batches = []
    for case in (*content.cases, *content.latency):
        ours = next((timing for timing in case.timings if timing.engine == OURS), None)
        if ours is not None and case.predicted is not None:
            batches.append(Pair(case.title, "batches", case.predicted, ours.seen))
    checks = [Pair(check.title, "grid", check.predicted, check.measured) for check in content.checks]
    return tables + cores + batches + checks


def pill(source: Source) -> str:
    """The small mark that says where a number comes from."""
    return f'<span class="pill {source}">{source}</span>'


def _header(content: Content) -> str:
    where = f"{content.machine} ({content.machine_source}) · planner {content.planner}"
    return (
        f"<header><div><h1>{escape(content.title)}</h1><p>{escape(where)}</p></div>"
        '<button id="theme" type="button">light / dark</button></header>'
    )


def _tiles(content: Content) -> str:
    nbytes, rows = sum(t.nbytes for t in content.tables), sum(t.rows for t in content.tables)
    tiles = [_tile("Tables", show_bytes(nbytes), f"{len(content.tables)} tables, {show_count(rows)} rows")]
    if content.cores:
        slowest = max(content.cores, key=lambda core: core.predicted.seconds).predicted
        tiles.append(
            _tile("Slowest core", show_seconds(slowest.seconds), f"batch {content.batch} {pill(slowest.source)}")
        )
    best = _best_ratio(content.cases)
    if best is not None:
        ratio, rival, case = best
        tiles.append(_tile("Against the best rival", f"{ratio:.2f}×", f"{rival}, {escape(case)} {pill('measured')}"))
    both = pairs(content)
    if both:
        tiles.append(
            _tile("Prediction error", f"{typical_error(both):.0%}", f"median of {len(both)} {pill('measured')}")
        )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _tile(label: str, figure: str, under: str) -> str:
    return (
        f'<div class="tile"><div class="label">{label}</div>'
        f'<div class="figure">{figure}</div><div class="under">{under}</div></div>'
    )


def _best_ratio(cases: tuple[Case, ...]) -> tuple[float, str, str] | None:
    """The worst of our ratios to the best rival over all cases, so that the tile never flatters."""
    found = []
    for case in cases:
        ours = [timing.seen.seconds for timing in case.timings if timing.engine == OURS]
        rivals = [(timing.seen.seconds, timing.engine) for timing in case.timings if not is_ours(timing.engine)]
        if ours and rivals:
            seconds, engine = min(rivals)
            found.append((seconds / ours[0], engine, case.title))
    return min(found, default=None)


def _section(title: str, words: str, body: str) -> str:
    return f"<section><h2>{title}</h2><p>{words}</p>{body}</section>"


def _legend(names: list[str]) -> str:
    items = (f'<span><i style="background:var(--{n})"></i>{escape(STRATEGY_TEXT.get(n, n))}</span>' for n in names)
    return f'<div class="legend">{"".join(items)}</div>'


def _sizes(content: Content) -> str:
    names = sorted({name for table in content.tables for name in table.strategies})
    words = "Each dot is a table; the axis is logarithmic. Colour says how it is looked up."
    return _section("How large the tables are", words, _legend(names) + table_sizes(content.tables))


def _cores(content: Content) -> str:
    if not content.cores:
        return ""
    source = max(content.cores, key=lambda core: core.predicted.seconds).predicted.source
    names = sorted({segment.strategy for core in content.cores for segment in core.segments})
    words = (
        f"One bar a core for a batch of {show_count(content.batch)} samples, cut into its tables {pill(source)}. "
        "Full colour: the core owns the table. Pale: the table's look-ups are shared with other cores."
    )
    if any(core.measured for core in content.cores):
        words += f" The thin bar is what was seen {pill('measured')} when the core worked alone, the call included"
        joined = any(segment.table == INTERACTION for core in content.cores for segment in core.segments)
        words += ", without the interaction." if joined else "."
    return _section("Who holds what", words, _legend(names) + core_map(content.cores, content.lower_bound_s))


def _agreement(both: list[Pair]) -> str:
    if not both:
        return ""
    sources = " ".join(pill(source) for source in sorted({pair.predicted.source for pair in both}))
    words = (
        f"Across: what was seen {pill('measured')}. Up: what the cost model expected {sources}. "
        "On the dashed line they are equal; the band is a quarter either side."
    )
    return _section("Predicted beside measured", words, agreement(both))


def _latency(cases: tuple[Case, ...]) -> str:
    if not cases:
        return ""
    words = (
        f"Whole predictions, dense layers included, by batch size {pill('measured')}. "
        "Lower is better; bands are quartiles."
    )
    return _section("Latency by batch", words, curves(cases))


def _rivals(cases: tuple[Case, ...]) -> str:
    if not cases:
        return ""
    parts = []
    for case in cases:
        missing = f"<ul>{''.join(f'<li>{escape(reason)}</li>' for reason in case.missing)}</ul>" if case.missing else ""
        bound = f" The dashed line, {show_seconds(case.bound_s)}, is the machine's bound {pill('measured')}."
        parts.append(f"<h3>{escape(case.title)}</h3>{bars(case)}")
        parts.append(f"<p>{bound if case.bound_s else ''}</p>{missing}")
    words = (
        f"The same ids, the same weights, interleaved rounds; medians with quartiles {pill('measured')}. "
        "× is their time over ours."
    )
    return _section("Against the rivals", words, "".join(parts))


def _details(tables: tuple[TableLine, ...]) -> str:
    head = ("table", "rows", "dim", "bytes", "strategy", "cores", "predicted", "measured", "why")
    cells = "".join(f'<th class="{"n" if 0 < i < 4 or 5 < i < 8 else ""}">{name}</th>' for i, name in enumerate(head))
    rows = "".join(_row(table) for table in tables)
    body = f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table></div>'
    return f"<section><details><summary>Every table in numbers</summary>{body}</details></section>"


def _row(table: TableLine) -> str:
    held = table.cores[0] if table.owned else f"{len(table.cores)} cores share it"
    cells = (
        ("", escape(table.name)),
        ("n", show_count(table.rows)),
        ("n", f"{table.dim} {table.format}"),
        ("n", show_bytes(table.nbytes)),
        ("", escape(" + ".join(table.strategies))),
        ("", escape(held)),
        ("n", _number(table.predicted)),
        ("n", _number(table.measured)),
        ("", escape(table.why)),
    )
    inner = "".join(f'<td class="{kind}">{value}</td>' for kind, value in cells)
    return f"<tr>{inner}</tr>"


def _number(value: Estimate | Measurement | None) -> str:
    if value is None:
        return "–"
    source: Source = value.source if isinstance(value, Estimate) else "measured"
    return f"{show_seconds(value.seconds)} {pill(source)}"


def _notes(notes: tuple[str, ...]) -> str:
    if not notes:
        return ""
    return _section(
        "Why the plan is so", "In the planner's words.", f"<ul>{''.join(f'<li>{escape(n)}</li>' for n in notes)}</ul>"
    )


def _footer(content: Content) -> str:
    return f"<footer>{''.join(f'<span>{escape(k)}</span><span>{escape(v)}</span>' for k, v in content.facts)}</footer>"
