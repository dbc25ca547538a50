"""`recsmith inspect`."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from recsmith.bench.units import show_bytes, show_count
from recsmith.importers.model_card import held_as

from .options import Artifact, Json
from .output import Output, grid, plain

if TYPE_CHECKING:
    from rich.console import Console

    from recsmith.spec import Feature, Model, Table


def run(directory: Artifact, *, as_json: Json = False) -> None:
    """Show a model's features, tables, bytes and parameters."""
    from recsmith import api

    model, weights = api.load(directory)
    dense = sum(array.size for array in weights.dense.values())
    Output(as_json).result(_summary(model, dense), lambda console: _render(console, model, dense))


def _summary(model: Model, dense: int) -> dict[str, object]:
    return {
        "model": model.name,
        "table_bytes": model.nbytes,
        "table_parameters": _parameters(model),
        "dense_parameters": dense,
        "dense_inputs": model.dense_inputs,
        "folded_bytes": _folded(model),
        "features": [
            {
                "feature": feature.name,
                "table": table.name,
                "rows": table.rows,
                "dim": table.dim,
                "format": held_as(table),
                "bytes": table.nbytes,
                "pooling": feature.pooling,
                "ids": feature.id_map.kind,
                "out_of_range": feature.id_map.out_of_range,
            }
            for feature in model.features
            for table in _read(model, feature)
        ],
    }


def _render(console: Console, model: Model, dense: int) -> None:
    lines = grid("feature", "table", ">rows", ">dim", "format", ">bytes", ">share", "pooling", "ids", "outside")
    for feature, table in ((each, table) for each in model.features for table in _read(model, each)):
        lines.add_row(
            plain(feature.name),
            plain(table.name),
            show_count(table.rows),
            str(table.dim),
            held_as(table),
            show_bytes(table.nbytes),
            f"{table.nbytes / model.nbytes:.1%}",
            feature.pooling,
            feature.id_map.kind,
            feature.id_map.out_of_range,
        )
    console.print(lines)
    inside = model.interaction.kind if model.interaction else "graph" if model.graph else "none"
    console.print(
        f"{model.name}: {len(model.tables)} tables, {show_bytes(model.nbytes)}, {_parameters(model):,} parameters; "
        f"{dense:,} dense parameters, {model.dense_inputs} dense inputs, interaction {inside}"
    )
    folded = _folded(model)
    if folded:
        least, most = show_bytes(min(folded.values())), show_bytes(sum(folded.values()))
        console.print(
            f"folded into the first top layer (recsmith plan --fold), rows take {least} for the smallest feature, "
            f"{most} for all that can be"
        )


def _folded(model: Model) -> dict[str, int]:
    """Feature to the bytes that its rows would take when folded; empty where nothing can be."""
    from recsmith.representations.folding import candidates, obstacle

    return {} if obstacle(model) else candidates(model)


def _parameters(model: Model) -> int:
    return sum(
        table.rows * table.dim if table.computed is None else sum(prod(part.shape) for part in table.parameters)
        for table in model.tables
    )


def _read(model: Model, feature: Feature) -> list[Table]:
    """The table that a feature reads, and the one beside it."""
    return [model.table(name) for name in (feature.table, feature.beside) if name is not None]
