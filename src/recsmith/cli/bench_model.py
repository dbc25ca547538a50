"""`recsmith bench model`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from recsmith.bench.units import parse_bytes, show_seconds

from .bench_lookup import Dim, Ids, MaxBytes, Pages, Profile, Results, Shape, Threads
from .options import Json, PlannerName, Quiet, Strategies, names
from .output import Output, grid, plain
from .workloads import Batches, sizes

if TYPE_CHECKING:
    from rich.console import Console

    from recsmith.bench.model import ModelRecord

Against = Annotated[str, typer.Option(metavar="A,B", help="Rivals: torch, compile; on a GPU also fused.")]
Join = Annotated[
    Literal["dot", "cat"] | None,
    typer.Option("--interaction", help="How vectors are joined; as the workload's source says when not given."),
]
FoldBytes = Annotated[
    str,
    typer.Option(
        "--fold",
        metavar="BYTES",
        help="With cat: fold features as `recsmith plan --fold` does; and fold none, beside it.",
    ),
]
Seconds = Annotated[float, typer.Option(min=0.05, help="Of timed calls for each engine and batch size.")]


def run(
    workload: Shape = "criteo_kaggle",
    batch: Batches = "1,16,128,512,2048",
    dim: Dim = None,
    ids: Ids = "zipf:1.05",
    threads: Threads = 1,
    pages: Pages = "huge",
    planner: PlannerName = "auto",
    strategies: Strategies = "",
    max_bytes: MaxBytes = "",
    platform: Profile = None,
    against: Against = "torch,compile",
    interaction: Join = None,
    fold: FoldBytes = "",
    seconds: Seconds = 1.0,
    results: Results = None,
    *,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Whole predictions by batch size, dense layers included, beside PyTorch with the same weights."""
    from recsmith.bench import records
    from recsmith.bench.menu import run_model
    from recsmith.bench.model import ModelOptions

    out = Output(as_json, quiet)
    options = ModelOptions(
        workload=workload,
        batches=sizes(batch),
        dim=dim,
        ids=ids,
        threads=threads,
        pages=pages,
        planner=planner,
        strategies=names(strategies),
        platform=platform,
        max_bytes=parse_bytes(max_bytes) if max_bytes else None,
        against=names(against),
        seconds=seconds,
        interaction=interaction,
        fold_bytes=parse_bytes(fold) if fold else 0,
    )
    with out.progress() as progress:
        record = run_model(options, progress)
    if results is not None:
        records.append(results, record)
    out.result(record, lambda console: _render(console, record))


def _render(console: Console, record: ModelRecord) -> None:
    joined = f" ({record.interaction})" if record.interaction else ""
    title = f"{record.workload}{joined}, {record.ids} ids, {record.run.threads} threads (measured)"
    lines = grid(">batch", "engine", ">median", ">p99", ">samples/s", title=title)
    for case in sorted(record.cases, key=lambda case: (case.batch, case.median_s)):
        style = "bold" if case.engine == "recsmith" else ""
        speed = f"{case.samples_per_s:,.0f}"
        median, slow = show_seconds(case.median_s), show_seconds(case.p99_s)
        lines.add_row(str(case.batch), plain(case.engine), median, slow, speed, style=style)
    console.print(lines)
    for best in record.ratios:
        line = f"batch {best.batch}: {best.best_peer} takes {best.ratio:.2f} times as long as recsmith"
        console.print(line, markup=False)
    for missing in record.missing:
        console.print(f"missing {missing.engine}: {missing.reason}", markup=False)
