"""`recsmith convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from recsmith.bench.units import show_bytes, show_count

from .held import parse
from .options import Artifact, Json, Quiet, names
from .output import Output, grid, plain
from .train import render_quality

if TYPE_CHECKING:
    from rich.console import Console

    from recsmith.api import Converted

To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="NAME[:varied]|FILE",
        help="table, fp16, bf16, int8, int4: stored rows; dhe, hybrid, select, quotient_remainder, mixed_dimension: "
        "come near the rows there are; `:varied` sizes each DHE by its table; or a file of settings.",
    ),
]
Decoders = Annotated[
    Literal["fp32", "fp16", "bf16", "int8", "int4"] | None,
    typer.Option(help="Keep the weights of DHE decoders in this format; after --to, where that is given."),
]
Target = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")]
Features = Annotated[str, typer.Option(metavar="A,B", help="Features to convert; all when not given.")]
Profile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Recorded ids (Parquet): a DHE is taught each as often as it occurs."),
]
Steps = Annotated[int, typer.Option(min=1, help="Updates of each DHE that is taught.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the first parameters and the order of ids.")]
Data = Annotated[
    str, typer.Option("--data", "-d", metavar="KIND:PATH", help="Samples to measure the quality on, before and after.")
]
Limit = Annotated[int, typer.Option(min=0, help="The first so many samples only; 0: all.")]


def run(
    directory: Artifact,
    output: Target,
    to: To = None,
    decoders: Decoders = None,
    features: Features = "",
    profile: Profile = None,
    steps: Steps = 2000,
    seed: Seed = 0,
    data: Data = "",
    limit: Limit = 0,
    *,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hold a trained model in another way, without its data, and say what that costs.

    A DHE becomes the table that it computes, exactly; a table becomes a DHE that comes near it, or gets one beside it
    (hybrid) to be trained on; rows, or the weights of DHE decoders, are kept in fewer bits.
    """
    from recsmith import api

    if to is None and decoders is None:
        raise typer.BadParameter("Say what to convert to.", param_hint="--to or --decoders")
    out = Output(as_json, quiet)
    with out.progress() as progress:
        done = api.convert(
            directory,
            output,
            None if to is None else parse(to),
            decoders=decoders,
            features=names(features) or None,
            profile=profile,
            steps=steps,
            seed=seed,
            data=data,
            limit=limit,
            progress=progress,
        )
    out.result(done, lambda console: _render(console, done))


def _render(console: Console, done: Converted) -> None:
    lines = grid("table", "how", ">rows", ">before", ">now", ">relative error")
    for each in done.tables:
        before = show_bytes(each.bytes_before) if each.bytes_before else "none"
        now = show_bytes(each.nbytes)
        lines.add_row(plain(each.table), each.how, show_count(each.rows), before, now, f"{each.error:.2g}")
    console.print(lines)
    if done.before is not None and done.after is not None:
        render_quality(console, done.before, "before")
        render_quality(console, done.after, "after")
    console.print(
        f"{show_bytes(done.bytes_before)} → {show_bytes(done.nbytes)} of embeddings in {done.folder}", markup=False
    )
