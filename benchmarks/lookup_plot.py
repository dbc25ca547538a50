"""Draws docs/lookup.svg from this machine's committed look-up results: ratio to the best rival, share of the bound."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

from where import results

from recsmith.bench.records import LookupRecord
from recsmith.bench.report import svg

TARGET = Path(__file__).parent.parent / "docs/lookup.svg"
BATCHES = (128, 2048)
ROW_PX, TOP_PX, LABEL_PX, PANEL_PX, GAP_PX = 22, 74, 262, 158, 32
STYLE = """<style>
  svg { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif } text { fill: #52514e }
  .title { font-weight: 650; fill: #0b0b0b } .name { fill: #0b0b0b } .tick { fill: #898781; font-size: 11px }
  .grid { stroke: #e1e0d9 } .even { stroke: #898781; stroke-dasharray: 3 3 } circle { stroke-width: 1.6 }
  .t1 { fill: #2a78d6; stroke: #2a78d6 } .t2 { fill: #eb6834; stroke: #eb6834 } .zipf { fill: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #c3c2b7 } .title, .name { fill: #fff } .grid { stroke: #2c2c2a }
    .t1 { fill: #3987e5; stroke: #3987e5 } .t2 { fill: #d95926; stroke: #d95926 } .zipf { fill: none }
  }
</style>"""

Row = tuple[str, str]
Value = Callable[[LookupRecord], float | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=results("lookup"))
    parser.add_argument("-o", "--output", type=Path, default=TARGET)
    asked = parser.parse_args()
    records = latest(LookupRecord.from_json(line) for line in asked.results.read_text().splitlines())
    asked.output.write_text(drawing(records) + "\n")


def latest(records: Iterable[LookupRecord]) -> list[LookupRecord]:
    """Of every case that is drawn the last record, in the order of the rows."""
    kept = {}
    for record in records:
        case = record.case
        if (
            case.batch in BATCHES
            and case.pages == "huge"
            and case.planner == "auto"
            and _law(record) in ("uniform", "zipf")
        ):
            kept[(*row_of(record), case.batch, case.ids, record.run.threads)] = record
    return sorted(kept.values(), key=_place)


def _place(record: LookupRecord) -> tuple[bool, bool, str, tuple[int, ...], str, str]:
    """Look-ups of floats first, then those that something follows, then rows in fewer bits."""
    case = record.case
    return case.dtype != "fp32", case.fuse != "none", record.workload, case.dims, case.fuse, case.dtype


def row_of(record: LookupRecord) -> Row:
    """What stands on the left: the model, and how its rows are stored or what follows the look-up."""
    case = record.case
    stored = f"dim {'/'.join(map(str, case.dims))}, {case.dtype}"
    return record.workload, stored if case.fuse == "none" else f"{stored} + {case.fuse}"


def _law(record: LookupRecord) -> str:
    return record.case.ids.partition(":")[0]


def drawing(records: list[LookupRecord]) -> str:
    """The picture: a row a model, four panels."""
    rows = list(dict.fromkeys(row_of(record) for record in records))
    bottom = TOP_PX + ROW_PX * len(rows)
    parts = [STYLE, *_legend()]
    for at, (name, detail) in enumerate(rows):
        y = TOP_PX + ROW_PX * (at + 0.5) + 4
        parts += [svg.text(0, y, name, "name"), svg.text(LABEL_PX - 12, y, detail, anchor="end")]
    left = LABEL_PX
    for title, value, log in (
        ("times as fast as the best rival", lambda record: record.ratio_to_best_peer, True),
        ("share of what the machine allows", lambda record: record.share_of_bound, False),
    ):
        found = [one for record in records if (one := value(record))]
        for batch in BATCHES:
            stop = left + PANEL_PX
            low, high = min(0.95, *found), max(1.0, *found)
            scale = (
                svg.Scale(low / 1.1, high * 1.1, left, stop, log=True, base=2.0)
                if log
                else svg.Scale(0, high, left, stop)
            )
            chosen = [record for record in records if record.case.batch == batch]
            parts += _panel(chosen, rows, value, scale, bottom, title if batch == BATCHES[0] else "", batch)
            left = stop + GAP_PX
    label = (
        "Look-ups: how many times as fast as the best rival, and share of what the machine allows, by model and batch"
    )
    drawn = svg.picture(left, bottom + 26, parts, label)
    return drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def _legend() -> list[str]:
    parts, x = [], 0.0
    for classes, says in (
        ("t1", "1 thread, uniform ids"),
        ("t1 zipf", "zipf 1.05"),
        ("t2", "2 threads, uniform ids"),
        ("t2 zipf", "zipf 1.05"),
    ):
        parts += [svg.circle(x + 5, 10, 4.5, classes), svg.text(x + 15, 14, says)]
        x += 34 + len(says) * svg.FONT_WIDTH_PX
    return parts


def _panel(
    records: list[LookupRecord], rows: list[Row], value: Value, scale: svg.Scale, bottom: float, title: str, batch: int
) -> list[str]:
    parts = svg.axis_x(scale, TOP_PX, bottom, lambda tick: f"{tick:g}x" if scale.log else f"{tick:.0%}", 3)
    parts.append(svg.line(scale(1), TOP_PX, scale(1), bottom, "even"))
    parts += [svg.text(scale.start, 42, title, "title"), svg.text(scale.start, 60, f"batch {batch:,}", "title")]
    for record in records:
        found = value(record)
        if found is None:
            continue
        y = TOP_PX + ROW_PX * (rows.index(row_of(record)) + 0.5)
        classes = f"t{min(record.run.threads, 2)}" + (" zipf" if _law(record) == "zipf" else "")
        parts.append(svg.circle(scale(found), y, 4.5, classes))
    return parts


if __name__ == "__main__":
    main()
