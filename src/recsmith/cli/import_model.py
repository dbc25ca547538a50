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
Factory = Annotated[
    str | None, typer.Option("--model", metavar="PKG.MOD:FACTORY", help="Your code that makes the module to load into.")
]
Sample = Annotated[
    Path | None, typer.Option("--sample", metavar="FILE.npz", help="Example inputs of that module's forward.")
]
MapKind = Annotated[
    Literal["integer", "modulo"] | None,
    typer.Option("--id-map", help="Raw ids are row numbers, or row numbers modulo rows."),
]
Outside = Annotated[
    Literal["error", "clamp", "wrap", "default"] | None,
    typer.Option("--out-of-range", help="Policy for ids without a row."),
]
Rows = Annotated[str, typer.Option(metavar="N,N", help="Ids of each feature; MP-Rec's DHE stacks do not say.")]
DheTransform = Annotated[Literal["uniform", "gaussian"], typer.Option(help="Transform of MP-Rec's DHE stacks.")]
DheActivation = Annotated[Literal["sigmoid", "mish"], typer.Option(help="Last activation of MP-Rec's DHE stacks.")]
DheFeatures = Annotated[
    str,
    typer.Option(
        metavar="I,I",
        help="Select models: positions of features that are DHE; the last when not given. Without it, as many "
        "tables as DHE stacks are read as hybrid.",
    ),
]
AllowNonfinite = Annotated[bool, typer.Option("--allow-nonfinite", help="Keep NaN and infinite weights.")]


def run(
    checkpoint: Source,
    output: Target,
    interaction: Interaction = None,
    model: Factory = None,
    sample: Sample = None,
    features: Features = "",
    name: Name = None,
    id_map: MapKind = None,
    out_of_range: Outside = None,
    rows: Rows = "",
    dhe_transform: DheTransform = "uniform",
    dhe_activation: DheActivation = "sigmoid",
    dhe_features: DheFeatures = "",
    *,
    self_terms: SelfTerms = None,
    allow_nonfinite: AllowNonfinite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn a trained model into an artifact: safetensors shards and a readable model.json.

    Nothing in a checkpoint is executed; a factory given with --model is your own code, and is.
    """
    from msgspec.structs import replace

    from recsmith import api
    from recsmith.importers import artifact

    out = Output(as_json, quiet)
    options: dict[str, Any] = {
        "interaction": interaction,
        "self_terms": self_terms,
        "factory": model,
        "sample": sample,
        "feature_names": names(features),
        "name": name,
        "rows": _numbers(rows, "--rows"),
        "dhe_transform": dhe_transform,
        "dhe_activation": dhe_activation,
        "dhe_features": _numbers(dhe_features, "--dhe-features") or None,
        "allow_nonfinite": allow_nonfinite,
    }
    with out.progress() as progress:
        imported, weights = api.load(checkpoint, progress=progress, **options)
        asked = {"kind": id_map, "out_of_range": out_of_range}
        changed = {field: value for field, value in asked.items() if value is not None}
        mapped = tuple(replace(f, id_map=replace(f.id_map, **changed)) for f in imported.features)
        made = replace(imported, features=mapped)
        artifact.save(made, weights, output, progress=progress)
    total_rows = sum(table.rows for table in made.tables)
    twofold = sum(feature.beside is not None for feature in made.features)
    summary = {
        "artifact": str(output),
        "model": made.name,
        "features": len(made.features),
        "hybrid_features": twofold,
        "tables": len(made.tables),
        "rows": total_rows,
        "table_bytes": made.nbytes,
    }
    hybrid = f" (hybrid: {twofold} with a table and a DHE each)" if twofold else ""
    held = f"{len(made.features)} features{hybrid}, {len(made.tables)} tables"
    line = f"{output}: {made.name}, {held}, {total_rows:,} rows, {show_bytes(made.nbytes)}"
    out.result(summary, lambda console: console.print(line))


def _numbers(text: str, option: str) -> list[int]:
    parts = names(text)
    if not all(part.isdigit() for part in parts):
        raise typer.BadParameter("Write whole numbers, such as 1000,20,3.", param_hint=option)
    return [int(part) for part in parts]
