"""`recsmith bench lookup`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from recsmith.bench.units import parse_bytes, show_bytes, show_seconds

from .options import Json, PlannerName, Quiet, Strategies, names
from .output import Output, grid, mark, plain

if TYPE_CHECKING:
    from rich.console import Console

    from recsmith.bench.records import LookupRecord

Shape = Annotated[str, typer.Option("--workload", "-w", metavar="NAME", help="Table sizes of a known model.")]
Dim = Annotated[int | None, typer.Option(min=1, help="Elements a row; the workload's own when not given.")]
BatchSize = Annotated[int, typer.Option("--batch", "-b", min=1, help="Samples a call.")]
Ids = Annotated[str, typer.Option(metavar="LAW", help="uniform, zipf:ALPHA, fixed or trace:FILE.")]
Threads = Annotated[int, typer.Option("--threads", "-t", min=1, help="For each engine.")]
Dtype = Annotated[Literal["fp32", "fp16", "bf16", "int8", "int4"], typer.Option(help="How rows are stored.")]
Pages = Annotated[Literal["4k", "huge"], typer.Option(help="Page size behind all engines' tables.")]
Fuse = Annotated[Literal["none", "dot", "cat"], typer.Option(help="Time the interaction too, up to the top MLP.")]
MaxBytes = Annotated[str, typer.Option(metavar="SIZE", help="Cut tables to one common number of rows, such as 4GiB.")]
Profile = Annotated[
    str | None, typer.Option("--platform", "-p", metavar="NAME|FILE", help="Profile to plan with; `cuda`: on the GPU.")
]
Rehearse = Annotated[bool, typer.Option(help="Let auto's plan be settled by timing its finalists.")]
Against = Annotated[str, typer.Option(metavar="A,B", help="Rivals; all that the machine can have when not given.")]
Rounds = Annotated[int, typer.Option(min=3, help="Interleaved rounds; 15 or more to quote a figure.")]
Results = Annotated[Path | None, typer.Option("--results", metavar="FILE", help="Append the record to a .jsonl file.")]


def run(
    workload: Shape = "criteo_kaggle",
    dim: Dim = None,
    batch: BatchSize = 2048,
    ids: Ids = "uniform",
    threads: Threads = 1,
    dtype: Dtype = "fp32",
    pages: Pages = "huge",
    planner: PlannerName = "auto",
    strategies: Strategies = "",
    fuse: Fuse = "none",
    max_bytes: MaxBytes = "",
    platform: Profile = None,
    against: Against = "",
    rounds: Rounds = 15,
    results: Results = None,
    *,
    rehearse: Rehearse = True,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look-ups, alone or with the interaction, beside the rivals: same weights, ids and pages, interleaved rounds."""
    from recsmith.bench import menu, records
    from recsmith.bench.options import PEERS, LookupOptions

    out = Output(as_json, quiet)
    options = LookupOptions(
        workload=workload,
        batch=batch,
        dim=dim,
        ids=ids,
        threads=threads,
        dtype=dtype,
        pages=pages,
        planner=planner,
        rehearse=rehearse,
        strategies=names(strategies),
        platform=platform,
        fuse=fuse,
        max_bytes=parse_bytes(max_bytes) if max_bytes else None,
        against=names(against) or PEERS,
        rounds=rounds,
    )
    with out.progress() as progress:
        record = menu.run_lookup(options, progress)
    if results is not None:
        records.append(results, record)
    out.result(record, lambda console: _render(console, record))


def _render(console: Console, record: LookupRecord) -> None:
    from recsmith.bench.records import OURS, is_ours

    ours = next(case.median_s for case in record.cases if case.engine == OURS)
    lines = grid("engine", "version", ">median", ">quartiles", ">Mrows/s", ">time / ours", title=_title(record))
    for case in sorted(record.cases, key=lambda case: case.median_s):
        style = "bold" if is_ours(case.engine) else ""
        quartiles = f"{show_seconds(case.q1_s)} – {show_seconds(case.q3_s)}"
        ratio = f"{case.median_s / ours:.2f}"
        speed = f"{case.rows_per_s / 1e6:.1f}"
        median = show_seconds(case.median_s)
        lines.add_row(plain(case.engine), case.version, median, quartiles, speed, ratio, style=style)
    console.print(lines)
    for missing in record.missing:
        console.print(f"missing {missing.engine}: {missing.reason}", markup=False)
    if record.bound_s is not None and record.share_of_bound is not None:
        bound, share = show_seconds(record.bound_s), record.share_of_bound
        console.print(f"bound of this machine {bound} ({mark('measured')}); we reach {share:.0%} of it")
    if record.predicted_s is not None and record.plan is not None:
        told = show_seconds(record.predicted_s)
        source = record.plan.predicted_source
        hint = (
            "; a profile (-p, from recsmith measure) predicts by this machine's speeds" if source == "modelled" else ""
        )
        console.print(f"predicted {told} ({mark(source)}), {record.predicted_s / ours - 1:+.0%}{hint}")


def _title(record: LookupRecord) -> str:
    from recsmith.bench import records

    case = record.case
    what = f"{record.workload}{records.with_interaction(case)}, batch {case.batch}, {case.ids} ids"
    what += f", {record.run.threads} threads"
    return f"{what}, {case.dtype}, {case.pages} pages, {show_bytes(case.table_bytes)}"
