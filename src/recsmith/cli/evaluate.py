"""`recsmith evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from recsmith.bench.units import show_bytes

from .options import Artifact, Json, Quiet
from .output import Output
from .train import BadRows, Data, render_quality

if TYPE_CHECKING:
    from rich.console import Console

    from recsmith.api import Evaluated

EngineName = Annotated[
    Literal["recsmith", "torch"], typer.Option(help="recsmith: as `predict` serves it; torch: the module as trained.")
]
Resamples = Annotated[int, typer.Option(min=0, help="For the intervals; 0 gives none.")]
Precision = Annotated[
    Literal["fp32", "bf16", "fp8"],
    typer.Option(help="Of a DHE's products, as of recsmith plan; bf16 and fp8 round as on a GPU."),
]
Limit = Annotated[int, typer.Option(min=0, help="The first so many samples only; 0: all.")]


def run(
    directory: Artifact,
    data: Data,
    engine: EngineName = "recsmith",
    bad_rows: BadRows = "error",
    resamples: Resamples = 200,
    limit: Limit = 0,
    precision: Precision = "fp32",
    *,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Accuracy, AUC and logloss on samples whose clicks are known, with bootstrap intervals."""
    from recsmith import api

    out = Output(as_json, quiet)
    with out.progress() as progress:
        done = api.evaluate(
            directory,
            data,
            engine=engine,
            bad_rows=bad_rows,
            resamples=resamples,
            limit=limit,
            precision=precision,
            progress=progress,
        )
    out.result(done, lambda console: _render(console, done))


def _render(console: Console, done: Evaluated) -> None:
    rounded = "" if done.precision == "fp32" else f", rows in {done.precision}"
    render_quality(console, done.quality, f"{done.model} ({show_bytes(done.table_bytes)}) by {done.engine}{rounded}")
    console.print(f"mean prediction over rate of clicks: {done.quality.calibration:.3f}")
    if done.bad_rows:
        console.print(f"{done.bad_rows} bad rows left out; the first: {done.first_bad}", markup=False)
    if done.unseen:
        console.print(f"{sum(done.unseen.values()):,} ids that the vocabularies lack", markup=False)
