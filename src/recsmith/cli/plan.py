"""`recsmith plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from recsmith.bench.units import parse_bytes

from .explain import render_summary
from .options import Artifact, Json, Machine, PlannerName, Quiet, Strategies, names
from .output import Output
from .workloads import Asked, Batches, Pooling, objective

if TYPE_CHECKING:
    from recsmith.spec import DecoderPrecision, Model, Objective, Platform, Serving

Target = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Plan to write.")]
Rehearse = Annotated[
    bool, typer.Option("--rehearse", help="Settle it by timing the finalists with the model's tables, on this machine.")
]
CostName = Annotated[str, typer.Option("--cost", help="Cost model: fitted or roofline.")]

Memory = Annotated[
    str,
    typer.Option(
        metavar="BYTES",
        help="For all embeddings as served, such as 200MB: computed rows (DHE ...) are finished beforehand, all or "
        "those of hot ids, where that fits and saves most. Without it they are computed when asked for.",
    ),
]
FoldBytes = Annotated[
    str,
    typer.Option(
        "--fold",
        metavar="BYTES",
        help="For models that concatenate: keep rows multiplied with the top MLP's first layer, in at most so many "
        "bytes (such as 500MB), where that makes predictions faster, timed on this machine.",
    ),
]
Precision = Annotated[
    Literal["fp32", "tf32", "bf16", "fp8"],
    typer.Option(help="Of a DHE's products; bf16 is faster and rounds, tf32 (on GPUs) rounds less, fp8 (Hopper) more."),
]


def run(
    directory: Artifact,
    workload: Asked = "uniform",
    batch: Batches = "2048",
    pooling: Pooling = 1.0,
    platform: Machine = "cpu",
    planner: PlannerName = "auto",
    strategies: Strategies = "",
    cost: CostName = "fitted",
    memory: Memory = "",
    precision: Precision = "fp32",
    fold: FoldBytes = "",
    output: Target = Path("plan.json"),
    *,
    rehearse: Rehearse = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decide for every table how it is looked up and which cores serve it. Writes a file to read, edit and diff."""
    from recsmith import api

    out = Output(as_json, quiet)
    model, weights = api.load(directory)
    machine = api.platform(platform)
    if machine.source == "probed":
        out.say("No machine profile given: probed this machine, planning with modelled speeds (recsmith measure).")
    _check_precision(machine, precision)
    asked = objective(model, workload, batch, pooling)
    ways = _servings(model, machine, asked, memory, precision)
    allowed = names(strategies) or None
    made = api.plan(model, machine, asked, planner=planner, allow=allowed, cost=cost, serving=ways)
    if fold:
        room = parse_bytes(fold) if not memory else min(parse_bytes(fold), parse_bytes(memory) - model.nbytes)
        with out.progress() as progress:
            made = api.rehearse_fold(
                model,
                made,
                weights,
                max_bytes=room,
                platform=machine,
                progress=progress,
                planner=planner,
                allow=allowed,
                cost=cost,
            )
    if rehearse:
        with out.progress() as progress:
            made = api.rehearse(model, made, weights, platform=machine, allow=allowed, progress=progress)
    made.save(output)
    out.say(f"wrote {output}; recsmith explain {output} --model {directory} -p {platform} shows each feature")
    if any(way.hot for way in made.serving):
        out.say("Rows of hot ids are kept: tell recsmith predict which those are, with --profile.")
    out.result(made, lambda console: render_summary(console, made))


def _servings(
    model: Model, machine: Platform, asked: Objective, memory: str, precision: DecoderPrecision
) -> tuple[Serving, ...]:
    from recsmith import api
    from recsmith.spec import Serving

    if memory:
        return api.servings_within(model, machine, asked, parse_bytes(memory), precision=precision)
    return tuple(Serving(table.name, precision=precision) for table in model.tables if table.computed is not None)


def _check_precision(machine: Platform, precision: DecoderPrecision) -> None:
    """Return when the machine multiplies in it, or may.

    Raises:
        UnavailableError: it does not, or nothing says so.
    """
    from recsmith.spec import UnavailableError

    if precision == "tf32" and machine.kind != "cuda":
        raise UnavailableError("plan", f"'{machine.name}' does not multiply in tf32", "Choose fp32 or bf16.")
    if precision == "fp8" and not any(each.startswith("wgmma:fp8:") for each in machine.capabilities):
        raise UnavailableError(
            "plan",
            f"nothing says that '{machine.name}' multiplies in fp8, right and faster",
            "Choose bf16, or measure an H100 or H200 first: recsmith measure --platform cuda.",
        )
