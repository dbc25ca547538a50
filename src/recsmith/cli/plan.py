"""`recsmith plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .explain import render_summary
from .options import Artifact, Json, Machine, PlannerName, Quiet, Strategies, names
from .output import Output
from .workloads import Asked, Batches, Pooling, objective

Target = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Plan to write.")]
CostName = Annotated[str, typer.Option("--cost", help="Cost model: fitted or roofline.")]


def run(
    directory: Artifact,
    workload: Asked = "uniform",
    batch: Batches = "2048",
    pooling: Pooling = 1.0,
    platform: Machine = "cpu",
    planner: PlannerName = "auto",
    strategies: Strategies = "",
    cost: CostName = "fitted",
    output: Target = Path("plan.json"),
    *,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decide for every table how it is looked up and which cores serve it. Writes a file to read, edit and diff."""
    from recsmith import api

    out = Output(as_json, quiet)
    model, _ = api.load(directory)
    machine = api.platform(platform)
    if machine.source == "probed":
        out.say("No machine profile given: probed this machine, planning with modelled speeds (recsmith measure).")
    asked = objective(model, workload, batch, pooling)
    made = api.plan(model, machine, asked, planner=planner, allow=names(strategies) or None, cost=cost)
    made.save(output)
    out.say(f"wrote {output}; recsmith explain {output} --model {directory} -p {platform} shows each feature")
    out.result(made, lambda console: render_summary(console, made))
