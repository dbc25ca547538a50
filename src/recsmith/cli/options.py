"""Options that several commands share, so that they are called the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Write one JSON object to stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no remarks on stderr.")]

Artifact = Annotated[Path, typer.Argument(metavar="DIR", help="Folder written by `recsmith import`.")]
Machine = Annotated[
    str,
    typer.Option(
        "--platform",
        "-p",
        metavar="NAME|FILE",
        help="`cpu`, `cuda`: this machine; `h200`, `h100`, `a100`: modelled; or a profile.",
    ),
]
PlanFile = Annotated[Path | None, typer.Option("--plan", metavar="FILE", help="Written by `recsmith plan`.")]
PlannerName = Annotated[str, typer.Option("--planner", help="auto, symmetric, fused, greedy or ilp.")]
Strategies = Annotated[
    str, typer.Option("--strategies", metavar="A,B", help="Those the planner may use; all when not given.")
]
Isa = Annotated[str, typer.Option("--isa", help="Force an instruction set: scalar, avx2, avx512, neon.")]
Rows = Annotated[
    Path, typer.Option("--input", "-i", metavar="FILE", help="Rows: .parquet, .tsv, .csv, .npz, Criteo or MovieLens.")
]
Reader = Annotated[str, typer.Option("--reader", help="How to read the rows; `auto` tells from the file.")]


def names(text: str) -> tuple[str, ...]:
    """The names in "a,b,c"; none in an empty text."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
