"""`recsmith predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from recsmith.bench.units import show_count, show_seconds

from .options import Artifact, Isa, Json, Machine, PlanFile, Quiet, Reader, Rows
from .output import Output

Target = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Predictions: .parquet, .csv or .npz.")
]
BatchSize = Annotated[int, typer.Option("--batch", "-b", min=1, help="Rows a call.")]
BadRows = Annotated[Literal["error", "skip"], typer.Option(help="What to do with rows that cannot be read.")]

Profile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Recorded ids (Parquet), for plans that keep rows of hot ids.")
]


def run(
    directory: Artifact,
    rows: Rows,
    plan: PlanFile = None,
    platform: Machine = "cpu",
    output: Target = None,
    batch: BatchSize = 2048,
    reader: Reader = "auto",
    bad_rows: BadRows = "error",
    isa: Isa = "auto",
    profile: Profile = None,
    *,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict every row of a file, streamed. Without a plan it makes one for uniform ids, and says so."""
    from recsmith import api
    from recsmith.spec import Plan

    out = Output(as_json, quiet)
    made = None if plan is None else Plan.open(plan)
    machine = api.platform(platform)
    with out.progress() as progress:
        done = api.predict(
            directory,
            rows,
            output,
            made=made,
            machine=machine,
            batch=batch,
            reader=reader,
            bad_rows=bad_rows,
            isa=isa,
            profile=profile,
            progress=progress,
        )
    for note in done.notes:
        out.say(note)
    line = f"{show_count(done.samples)} rows in {show_seconds(done.seconds)}, mean prediction {done.mean:.4f}"
    if done.output is not None:
        line += f" → {done.output}"
    if done.bad_rows:
        line += f"; {done.bad_rows} bad rows left out, the first: {done.first_bad}"
    if done.replaced:
        line += f"; {show_count(done.replaced)} ids replaced by their features' policy"
    out.result(done, lambda console: console.print(line, markup=False))
