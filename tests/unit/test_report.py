"""The report is one file that needs no other, and says of each number where it comes from."""

import re
import xml.etree.ElementTree as ET

import pytest
from msgspec.structs import replace

from recsmith.bench.report.agreement import Pair, typical_error
from recsmith.bench.report.content import Case, Content, CoreLine, Segment, TableLine, Timing
from recsmith.bench.report.page import page, pairs, write
from recsmith.bench.report.svg import Scale, log_scale
from recsmith.spec import Estimate, Measurement

STRATEGIES = ("gm", "l1", "gm_ub", "l1_ub")


def estimate(seconds: float) -> Estimate:
    return Estimate(seconds, {"rows": seconds}, "fitted")


def seen(seconds: float) -> Measurement:
    return Measurement(seconds, seconds * 0.97, seconds * 1.06, 21)


def core_line(core: str, own: tuple[Segment, ...]) -> CoreLine:
    busy = sum(part.seconds for part in own)
    return CoreLine(core, estimate(busy), own, estimate(busy), seen(busy * 1.08))


def content(tables: int = 26, cores: int = 2, batch: int = 2048) -> Content:
    """A page with every section; sizes fall by a factor from table to table."""
    lines, segments = [], {f"c{i}": [] for i in range(cores)}
    for i in range(tables):
        rows, owned = max(3, int(10_131_227 * 0.6**i)), i % 3 == 0
        strategy = STRATEGIES[min(i // 7, 3)]
        holders = (f"c{i % cores}",) if owned else tuple(segments)
        seconds = 1.2e-5 * (1 + 3 * 0.8**i)
        for core in holders:
            segments[core].append(Segment(core, f"C{i + 1}", strategy, seconds / len(holders), owned))
        lines.append(
            TableLine(
                f"C{i + 1}", rows, 16, rows * 64, "fp32", (strategy,), holders, owned,
                estimate(seconds), seen(seconds * (0.85 + 0.013 * i)), "rows outgrow the private cache",
            )
        )  # fmt: skip
    busy = {core: sum(part.seconds for part in parts) for core, parts in segments.items()}
    ours = {"recsmith": 3.1e-4, "fbgemm nbit": 6.2e-4, "torch compile": 6.5e-4, "zentorch": 7.4e-4, "torch": 1.1e-3}
    sizes = (1, 8, 64, 512, 4096)
    return Content(
        title="dlrm-demo on this machine",
        machine="Some CPU, avx512",
        machine_source="measured",
        planner="ilp",
        batch=batch,
        tables=tuple(lines),
        cores=tuple(core_line(core, tuple(own)) for core, own in segments.items()),
        lower_bound_s=max(busy.values()) * 0.9,
        cases=(
            Case("criteo, batch 2048, 2 threads", 2048, 2, tuple(Timing(e, seen(s)) for e, s in ours.items()),
                 1.9e-4, estimate(2.9e-4), ("onnxruntime: not installed",)),
        ),
        latency=tuple(
            Case(f"batch {b}", b, 2, tuple(Timing(e, seen(s * (0.04 + b / 2048))) for e, s in list(ours.items())[::3]))
            for b in sizes
        ),
        notes=("C1 is owned by c0: its rows then stay in that core's cache.",),
        facts=(("command", "recsmith bench lookup"), ("recsmith", "0.1.0")),
    )  # fmt: skip


def test_the_page_needs_no_other_file_and_no_network(tmp_path):
    text = write(content(), tmp_path / "deep" / "report.html").read_text()
    assert not re.search(r"""(src|href)=|@import|url\(|https?://""", text)
    assert len(text) < 300_000


def test_every_drawing_is_well_formed_and_stays_inside_its_frame():
    drawings = re.findall(r"<svg.*?</svg>", page(content()), re.S)
    assert len(drawings) == 5
    for drawing in drawings:
        root = ET.fromstring(drawing)
        _, _, width, height = map(float, root.get("viewBox").split())
        for node in root.iter():
            for key, limit in (
                ("x", width),
                ("x2", width),
                ("cx", width),
                ("y", height),
                ("y2", height),
                ("cy", height),
            ):
                assert -1 <= float(node.get(key, 0)) <= limit + 1, (node.tag, node.attrib)


def test_every_table_and_engine_is_named():
    text = page(content())
    for name in ("C1", "C26", "recsmith", "fbgemm nbit", "onnxruntime: not installed", "slowest core", "lower bound"):
        assert f">{name}<" in text


def test_numbers_carry_their_source():
    rows = re.findall(r"<tr>(.*?)</tr>", page(content()))[1:]
    assert len(rows) == 26
    assert all('pill fitted"' in row and 'pill measured"' in row for row in rows)


def test_what_was_not_measured_is_left_out_rather_than_drawn():
    bare = Content(
        "t", "m", "modelled", "symmetric", 1, (TableLine("a", 10, 4, 160, "fp32", ("gm",), ("c0",), True),), ()
    )
    text = page(bare)
    assert "Predicted beside measured" not in text and "rivals" not in text and '<td class="n">–</td>' in text


def test_names_are_escaped():
    odd = TableLine("<b>&", 10, 4, 160, "fp32", ("gm",), ("c0",), True)
    text = page(Content("<script>", "m", "modelled", "p", 1, (odd,), ()))
    assert "<b>&" not in text and "<title>&lt;script&gt;" in text


def test_the_headline_ratio_is_the_worst_case():
    base = content()
    slow = Case("hard", 1, 1, (Timing("recsmith", seen(2.0)), Timing("torch", seen(2.2))))
    text = page(replace(base, cases=(*base.cases, slow)))
    assert "1.10×</div>" in text and "torch, hard" in text


def test_our_other_ways_to_call_are_no_rivals():
    base = content()
    timings = (Timing("recsmith", seen(2.0)), Timing("recsmith[out=]", seen(1.9)), Timing("torch", seen(3.0)))
    text = page(replace(base, cases=(Case("one", 1, 1, timings),)))
    assert "1.50×</div>" in text and "torch, one" in text


def test_the_typical_error_is_the_median_of_its_size():
    both = [Pair("a", "tables", estimate(p), seen(1.0)) for p in (0.8, 1.1, 1.5)]
    assert typical_error(both) == pytest.approx(0.2)
    assert len(pairs(content())) == 26 + 2 + 1


def test_scales_put_round_values_where_they_belong():
    linear = Scale(0, 10, 100, 200)
    assert linear(2.5) == 125 and linear.ticks() == [0, 2, 4, 6, 8, 10]
    log = Scale(1, 1000, 0, 300, log=True)
    assert log(10) == pytest.approx(100) and log.ticks() == [1, 10, 100, 1000]
    assert log_scale([5.0], 0, 1).ticks()
