"""`recsmith compress`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from recsmith.bench.units import parse_bytes, show_bytes

from .convert import Steps
from .options import Json, Quiet, TrainingFolder, names
from .output import Output, grid, plain
from .train import Data, Restart, Seconds, Target

if TYPE_CHECKING:
    from rich.console import Console

    from recsmith.api import Compressed
    from recsmith.training.metrics import Quality

Memory = Annotated[
    str,
    typer.Option("--memory", "-m", metavar="BYTES", help="For embeddings and MLPs as they are kept, such as 200MB."),
]
Candidates = Annotated[
    str,
    typer.Option(
        metavar="A,B",
        help="bf16, int8, ...: all rows in that format. KIND@FORMAT: heavy tables as dhe (dhe_everywhere: all of "
        "them), quotient_remainder or mixed_dimension, trained anew and then, like all the rest, kept in FORMAT; "
        "converted:KIND@FORMAT: taught the rows there are instead of trained. Without this option: bf16, int8, "
        "int4 and every kind at int8, converted and trained.",
    ),
]
Trained = Annotated[
    str,
    typer.Option(
        metavar="DIR,DIR", help="Other folders of `recsmith train` on the same samples, in any representation, to try."
    ),
]


def run(
    directory: TrainingFolder,
    memory: Memory,
    data: Data,
    output: Target,
    candidates: Candidates = "",
    trained: Trained = "",
    steps: Steps = 2000,
    seconds: Seconds = math.inf,
    *,
    restart: Restart = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The best quality inside a number of bytes: rows of fewer bits, or tables computed (converted without training, or
    trained anew) and kept in fewer bits.

    The first half of the samples held back decides
    which one is best, the others tell how good; it is written to `model` inside the output folder. Run again to go on.
    """
    from recsmith import api
    from recsmith.api.compressing import CANDIDATES

    out = Output(as_json, quiet)
    with out.progress() as progress:
        done = api.compress(
            directory,
            parse_bytes(memory),
            data,
            output,
            candidates=names(candidates) or CANDIDATES,
            trained=names(trained),
            steps=steps,
            seconds=seconds,
            restart=restart,
            told=lambda name, report: out.say(f"{name}, update {report.step:,}: loss {report.logloss:.4f}"),
            progress=progress,
        )
    out.result(done, lambda console: _render(console, done))


def _render(console: Console, done: Compressed) -> None:
    table = grid("held as", ">bytes", ">served", ">accuracy", ">AUC", ">logloss", "")
    kept = show_bytes(done.original_bytes)
    table.add_row("as it was", kept, kept, *_figures(done.original), "")
    for each in done.candidates:
        figures = ("", "", "") if each.quality is None else _figures(each.quality)
        sizes = (show_bytes(size) if size else "" for size in (each.nbytes, each.served_bytes))
        note = "chosen" if each.name == done.chosen else each.why_not
        table.add_row(plain(each.name), *sizes, *figures, plain(note))
    console.print(table)
    if done.chosen is not None:
        console.print(f"→ {done.folder}/model", markup=False)


def _figures(quality: Quality) -> tuple[str, str, str]:
    return f"{quality.accuracy.value:.4f}", f"{quality.auc.value:.4f}", f"{quality.logloss.value:.4f}"
