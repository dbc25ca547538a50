"""`recsmith compress`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from recsmith.bench.units import parse_bytes, show_bytes

from .convert import Steps
from .options import Artifact, Json, Quiet
from .output import Output, grid, plain
from .train import Data, Seconds, Target

if TYPE_CHECKING:
    from rich.console import Console

    from recsmith.api import Compressed
    from recsmith.training.metrics import Quality

Memory = Annotated[str, typer.Option("--memory", "-m", metavar="BYTES", help="For embeddings and MLPs, such as 200MB.")]


def run(
    directory: Artifact,
    memory: Memory,
    data: Data,
    output: Target,
    steps: Steps = 2000,
    seconds: Seconds = math.inf,
    *,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The best quality inside a number of bytes: rows of fewer bits, or the heaviest tables computed, converted without
    training or trained anew.

    DIR is a folder that `recsmith train` wrote, with plain tables; the best that fits is written to `model` inside
    the output folder. Run again to go on.
    """
    from recsmith import api

    out = Output(as_json, quiet)
    with out.progress() as progress:
        done = api.compress(
            directory,
            parse_bytes(memory),
            data,
            output,
            steps=steps,
            seconds=seconds,
            told=lambda report: out.say(f"update {report.step:,}: loss {report.logloss:.4f}"),
            progress=progress,
        )
    out.result(done, lambda console: _render(console, done))


def _render(console: Console, done: Compressed) -> None:
    table = grid("held as", ">bytes", ">accuracy", ">AUC", ">logloss", "")
    first = done.original
    table.add_row("as it was", show_bytes(done.original_bytes), *_figures(first), "")
    for each in done.candidates:
        figures = ("", "", "") if each.quality is None else _figures(each.quality)
        note = "chosen" if each.name == done.chosen else each.why_not
        table.add_row(plain(each.name), show_bytes(each.nbytes) if each.nbytes else "", *figures, plain(note))
    console.print(table)
    if done.chosen is not None:
        console.print(f"→ {done.folder}/model", markup=False)


def _figures(quality: Quality) -> tuple[str, str, str]:
    return f"{quality.accuracy.value:.4f}", f"{quality.auc.value:.4f}", f"{quality.logloss.value:.4f}"
