"""`recsmith train`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from recsmith.bench.units import show_bytes, show_count

from . import held
from .options import Json, Quiet
from .output import Output, grid

if TYPE_CHECKING:
    from rich.console import Console

    from recsmith.api import TrainSummary
    from recsmith.training.metrics import Quality

Data = Annotated[
    str,
    typer.Option(
        "--data", "-d", metavar="KIND:PATH", help="criteo:PATH, avazu:PATH, movielens:FOLDER or synthetic:WORKLOAD,..."
    ),
]
Target = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write, or to go on in.")]
RecipeName = Annotated[
    Literal["auto", "kaggle", "terabyte", "avazu", "small"],
    typer.Option(help="Widths and rates; auto: the usual one for the data."),
]
Passes = Annotated[int | None, typer.Option(min=1, help="Times that all training samples are seen.")]
BatchSize = Annotated[int | None, typer.Option("--batch", "-b", min=1, help="Samples an update.")]
Rate = Annotated[float | None, typer.Option(min=0, help="Learning rate.")]
TableRate = Annotated[float | None, typer.Option(min=0, help="Learning rate of stored rows; as --rate if not given.")]
DecoderRate = Annotated[
    float | None, typer.Option(min=0, help="Learning rate of DHE decoders; as --rate if not given.")
]
DecoderStart = Annotated[
    float | None,
    typer.Option(min=0, help="Factor of the last decoder layer's first weights; 0.01: ids start near zero."),
]
Decay = Annotated[
    float | None, typer.Option(min=0, max=1, help="The last part of training, over which rates fall to zero.")
]
Average = Annotated[
    float | None, typer.Option(min=0, max=1, help="The last part of training, of whose parameters the mean is kept.")
]
Seed = Annotated[int | None, typer.Option(min=0, help="Of the first weights and of the order.")]
Holdout = Annotated[float, typer.Option(min=0, max=0.9, help="The last part of the samples, kept for evaluation.")]
MaxRows = Annotated[
    int, typer.Option(min=0, help="Rows a table: ids are taken modulo this. 0: number the ids that training sees.")
]
BadRows = Annotated[Literal["error", "skip"], typer.Option(help="What to do with rows or labels that are bad.")]
Threads = Annotated[int | None, typer.Option("--threads", "-t", min=1, help="Of torch.")]
Seconds = Annotated[float, typer.Option(min=0, help="Stop after these, with a checkpoint; run again to go on.")]
ReportSteps = Annotated[int, typer.Option(min=1, help="Updates from one report to the next.")]
Restart = Annotated[bool, typer.Option("--restart", help="Forget an earlier run in the folder.")]


def run(
    data: Data,
    output: Target,
    representation: held.Representation = "table",
    recipe: RecipeName = "auto",
    passes: Passes = None,
    batch: BatchSize = None,
    rate: Rate = None,
    table_rate: TableRate = None,
    decoder_rate: DecoderRate = None,
    decoder_start: DecoderStart = None,
    decay: Decay = None,
    average: Average = None,
    seed: Seed = None,
    holdout: Holdout = 0.1,
    max_rows: MaxRows = 0,
    bad_rows: BadRows = "error",
    threads: Threads = None,
    seconds: Seconds = math.inf,
    report_steps: ReportSteps = 1000,
    *,
    restart: Restart = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a DLRM on a click log, streamed from disk; DIR/model is an artifact when it is done.

    Run again with the same settings after a stop or a kill, and it goes on, to the same result as without.
    """
    from msgspec.structs import replace

    from recsmith import api
    from recsmith.data import sources
    from recsmith.training.recipe import RECIPES, USUAL

    out = Output(as_json, quiet)
    usual = RECIPES[USUAL[sources.parse(data).kind] if recipe == "auto" else recipe]
    asked = {
        "passes": passes,
        "batch": batch,
        "rate": rate,
        "table_rate": table_rate,
        "decoder_rate": decoder_rate,
        "decoder_start": decoder_start,
        "decay": decay,
        "average": average,
        "seed": seed,
    }
    how = replace(usual, **{name: value for name, value in asked.items() if value is not None})
    with out.progress() as progress:
        done = api.train(
            data,
            output,
            held.parse(representation),
            recipe=how,
            holdout=holdout,
            modulo=max_rows,
            bad_rows=bad_rows,
            threads=threads,
            seconds=seconds,
            report_steps=report_steps,
            restart=restart,
            told=lambda report: out.say(
                f"update {report.step:,}: loss {report.logloss:.4f}, accuracy {report.accuracy:.4f}"
                + ("" if report.auc is None else f", AUC {report.auc:.4f}")
            ),
            progress=progress,
        )
    out.result(done, lambda console: _render(console, done))


def _render(console: Console, done: TrainSummary) -> None:
    line = f"{done.steps:,} of {done.total_steps:,} updates, {show_count(done.samples)} samples"
    console.print(f"{line}, embeddings of {show_bytes(done.table_bytes)}", markup=False)
    if done.bad_rows:
        kinds = f"{done.bad_rows} bad rows left out, {done.bad_labels} of them for their label"
        console.print(f"{kinds}; the first: {done.first_bad}", markup=False)
    if done.unseen:
        count = sum(done.unseen.values())
        worst = max(done.unseen, key=lambda name: done.unseen[name])
        console.print(f"{show_count(count)} ids held back that training never saw, most in {worst}", markup=False)
    if done.steps < done.total_steps:
        console.print("Not finished; run again to go on.")
    elif done.quality is not None:
        render_quality(console, done.quality, "held back")
        console.print(f"→ {done.folder}/model", markup=False)


def render_quality(console: Console, found: Quality, what: str) -> None:
    """A table of the figures and their intervals."""
    clicks = f"{show_count(found.samples)} samples, {found.clicks / found.samples:.1%} of them clicks"
    console.print(f"{what}: {clicks}", markup=False)
    table = grid("figure", ">value", ">95 % interval")
    for name, figure in (("accuracy", found.accuracy), ("AUC", found.auc), ("logloss", found.logloss)):
        table.add_row(name, f"{figure.value:.4f}", f"{figure.low:.4f} to {figure.high:.4f}")
    console.print(table)
