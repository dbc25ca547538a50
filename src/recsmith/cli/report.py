"""`recsmith report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Artifact, Json, Machine, Quiet
from .output import Output

PlanSource = Annotated[Path, typer.Option("--plan", metavar="FILE", help="Written by `recsmith plan`.")]
Records = Annotated[
    list[Path] | None, typer.Option("--bench", metavar="FILE", help="JSON of `recsmith bench`; may be given again.")
]
Target = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Page to write.")]
Observe = Annotated[
    bool, typer.Option("--measure/--no-measure", help="Time each table and core here, beside its prediction.")
]


def run(
    directory: Artifact,
    plan: PlanSource,
    platform: Machine = "cpu",
    bench: Records = None,
    output: Target = Path("report.html"),
    *,
    measure: Observe = True,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write one self-contained HTML page: tables, cores, predicted beside measured, latency, rivals."""
    from recsmith import api
    from recsmith.bench.report.assemble import assemble
    from recsmith.bench.report.observe import observe
    from recsmith.bench.report.page import write
    from recsmith.bench.report.saved import open_records
    from recsmith.spec import Plan

    out = Output(as_json, quiet)
    model, weights = api.load(directory)
    made, machine = Plan.open(plan), api.platform(platform)
    saved = open_records(bench or [])
    observed = None
    if measure:
        with out.progress() as progress:
            observed = observe(model, weights, made, machine, progress)
    content = assemble(
        model, made, machine, observed=observed, lookups=saved.lookups, latency=saved.latency, checks=saved.checks
    )
    write(content, output)
    out.result(content, lambda console: console.print(f"report: {output.resolve()}", markup=False, soft_wrap=True))
