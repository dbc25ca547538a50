"""`recsmith explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsmith.bench.units import show_count, show_seconds

from .options import Json
from .output import Output, grid, mark, plain

if TYPE_CHECKING:
    from rich.console import Console

    from recsmith.spec import Bucket, Placement, Plan

Source = Annotated[Path, typer.Argument(metavar="PLAN", help="Written by `recsmith plan`.")]


def run(plan: Source, *, as_json: Json = False) -> None:
    """Show a plan: who serves which table, how, what it is expected to cost, and why."""
    from recsmith.spec import Plan

    made = Plan.open(plan)
    Output(as_json).result(made, lambda console: render(console, made))


def render(console: Console, plan: Plan) -> None:
    """Draw every bucket, the predictions and the planner's reasons."""
    for bucket in plan.buckets:
        _bucket(console, bucket)
    for predicted in plan.predicted:
        busy = ", ".join(f"{core} {show_seconds(seconds)}" for core, seconds in predicted.core_seconds.items())
        bound = f"; lower bound {show_seconds(predicted.lower_bound_s)}" if predicted.lower_bound_s else ""
        total = f"{show_seconds(predicted.total.seconds)} ({mark(predicted.total.source)})"
        console.print(f"[bold]{plain(predicted.workload)}[/bold]: {total}; {busy}{bound}")
    for note in plan.notes:
        console.print(f"- {note}", markup=False)
    console.print(f"planner {plan.planner}, for {plan.machine}", markup=False)


def _bucket(console: Console, bucket: Bucket) -> None:
    upto = "any size" if bucket.batch_up_to is None else f"up to {show_count(bucket.batch_up_to)} samples"
    lines = grid("feature", "table", ">rows", "strategy", "cores", "held", title=f"Batches of {upto}")
    everybody = set(bucket.cores)
    for stage in bucket.stages:
        for placement in stage.placements:
            whole = len(everybody) > 1 and set(placement.cores) == everybody
            lines.add_row(*_cells(placement, f"all {len(everybody)}" if whole else " ".join(placement.cores)))
    console.print(lines)


def _cells(placement: Placement, cores: str) -> tuple[str, ...]:
    shard = placement.shard
    rows = show_count(shard.rows) if shard.start == 0 else f"{show_count(shard.start)}–{show_count(shard.stop)}"
    held = (
        "owned"
        if len(placement.cores) == 1 and placement.samples.stop - placement.samples.start == 1
        else "samples shared"
    )
    if placement.reduce == "add":
        held += ", partial sums"
    return plain(placement.feature), plain(shard.table), rows, placement.strategy, cores, held
