"""`recsmith verify`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from recsmith.bench.units import show_count

from .options import Artifact, Isa, Json, Machine, PlanFile, Quiet, Reader, Rows
from .output import Output

DIFFERENT = 8

Original = Annotated[
    Path, typer.Option("--against", metavar="CKPT", help="The checkpoint that was imported, .pt or .safetensors.")
]
BatchSize = Annotated[int, typer.Option("--batch", "-b", min=1, help="Rows a call.")]
Limit = Annotated[int, typer.Option("--rows", min=1, help="How many rows at most.")]


def run(
    directory: Artifact,
    against: Original,
    rows: Rows,
    plan: PlanFile = None,
    platform: Machine = "cpu",
    batch: BatchSize = 512,
    limit: Limit = 16384,
    reader: Reader = "auto",
    isa: Isa = "auto",
    *,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare predictions with PyTorch running the original checkpoint. Exit code 8 when they differ."""
    from recsmith import api
    from recsmith.data import idmaps, readers
    from recsmith.spec import Plan, Workload

    out = Output(as_json, quiet)
    model, weights = api.load(directory)
    machine = api.platform(platform)
    made = Plan.open(plan) if plan else api.plan(model, machine, Workload.uniform(model, batch))
    batches = readers.read(rows, model, batch, reader=reader, maps=idmaps.mappers(model, weights.files))
    with (
        out.progress() as progress,
        api.compile(model, made, weights, platform=machine, isa=isa, progress=progress) as engine,
    ):
        found = api.verify(model, engine, against, islice(batches, -(-limit // batch)))
    verdict = "[green]equal[/green]" if found.passed else "[red]different[/red]"
    line = (
        f"{verdict}: {show_count(found.samples)} rows, largest difference {found.worst:.2e}, "
        f"allowed {found.bound * found.largest:.2e} ({found.bound:g} of the largest prediction, {found.largest:.3f})"
    )
    out.result(found, lambda console: console.print(line))
    if not found.passed:
        raise typer.Exit(DIFFERENT)
