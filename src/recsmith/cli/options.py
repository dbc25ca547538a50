"""Options that several commands share, so that they are called the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Write one JSON object to stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no remarks on stderr.")]

Artifact = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder of a model, as `recsmith import`, `train` or `convert` write it.")
]
TrainingFolder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder that `recsmith train` wrote, with plain tables.")
]
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
    str,
    typer.Option(
        "--strategies",
        metavar="A,B",
        help="Data flows for the planner: gm, l1, gm_ub, l1_ub, l1x2, l1x4, l1x8; those with kernels when not given.",
    ),
]
Isa = Annotated[str, typer.Option("--isa", help="Force an instruction set: scalar, avx2, avx512, neon.")]
Rows = Annotated[
    Path, typer.Option("--input", "-i", metavar="FILE", help="Rows: .parquet, .tsv, .csv, .npz, Criteo or MovieLens.")
]
Reader = Annotated[
    str,
    typer.Option(
        "--reader",
        help="npz, tsv, parquet, criteo_tsv, criteo_parquet, avazu, movielens; `auto`: tell from the file.",
    ),
]


def names(text: str) -> tuple[str, ...]:
    """The names in "a,b,c"; none in an empty text."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
