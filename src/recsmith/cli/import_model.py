"""`recsmith import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from recsmith.bench.units import show_bytes

from .options import Json, Quiet, names
from .output import Output

Source = Annotated[Path, typer.Argument(metavar="CKPT", help="PyTorch checkpoint (.pt) or .safetensors.")]
Target = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")]
Interaction = Annotated[
    Literal["dot", "cat"] | None, typer.Option(help="Needed only where the layer widths leave a choice.")
]
SelfTerms = Annotated[bool | None, typer.Option("--self-terms/--no-self-terms", help="Whether dot keeps x·x.")]
Features = Annotated[str, typer.Option(metavar="A,B", help="Feature names in table order; C1, C2, ... when not given.")]
Name = Annotated[str | None, typer.Option(help="The model's name; the file's stem when not given.")]
AllowNonfinite = Annotated[bool, typer.Option("--allow-nonfinite", help="Keep NaN and infinite weights.")]


def run(
    checkpoint: Source,
    output: Target,
    interaction: Interaction = None,
    features: Features = "",
    name: Name = None,
    *,
    self_terms: SelfTerms = None,
    allow_nonfinite: AllowNonfinite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn a trained model into an artifact: safetensors shards and a readable model.json. Executes nothing."""
    from recsmith import api
    from recsmith.importers import artifact

    out = Output(as_json, quiet)
    options: dict[str, Any] = {
        "interaction": interaction,
        "self_terms": self_terms,
        "feature_names": names(features),
        "name": name,
        "allow_nonfinite": allow_nonfinite,
    }
    with out.progress() as progress:
        model, weights = api.load(checkpoint, progress=progress, **options)
        artifact.save(model, weights, output, progress=progress)
    rows = sum(table.rows for table in model.tables)
    summary = {
        "artifact": str(output),
        "model": model.name,
        "features": len(model.features),
        "tables": len(model.tables),
        "rows": rows,
        "table_bytes": model.nbytes,
    }
    line = f"{output}: {model.name}, {len(model.tables)} tables, {rows:,} rows, {show_bytes(model.nbytes)}"
    out.result(summary, lambda console: console.print(line))
