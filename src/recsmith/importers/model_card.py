"""The artifact's README.md: what a person wants to know before using it."""

from __future__ import annotations

from recsmith.spec import Dhe, MixedDimension, Mlp, Model, QuotientRemainder, Table

_SHOWN = 40


def model_card(model: Model) -> str:
    """Markdown: tables with rows, dims and bytes; dense parts; where the model came from; how to run it."""
    lines = [
        f"# {model.name}",
        "",
        f"A recommendation model in recsmith's artifact form: {len(model.features)} sparse features over "
        f"{len(model.tables)} tables ({model.nbytes:,} bytes), {model.dense_inputs} dense inputs.",
        "",
        "| table | rows | dim | held as | bytes | read by |",
        "|---|---:|---:|---|---:|---|",
    ]
    for table in sorted(model.tables, key=lambda table: -table.nbytes)[:_SHOWN]:
        readers = [f"{f.name} ({f.pooling})" for f in model.features if table.name in (f.table, f.beside)]
        lines.append(
            f"| {table.name} | {table.rows:,} | {table.dim} | {held_as(table)} | {table.nbytes:,} "
            f"| {', '.join(readers)} |"
        )
    if len(model.tables) > _SHOWN:
        lines.append(f"| ... {len(model.tables) - _SHOWN} smaller tables | | | | | |")
    lines += ["", *_dense_part(model), *_provenance(model)]
    lines += ["", "Run it: `recsmith inspect .`, `recsmith predict . --input rows.parquet`.", ""]
    return "\n".join(lines)


def held_as(table: Table) -> str:
    """How the table is held, in a few words: "fp32", "dhe 1024-512-256-16"."""
    match table.computed:
        case None:
            return table.format.dtype
        case Dhe() as dhe:
            kept = "" if dhe.dtype == "fp32" else f", {dhe.dtype}"
            return f"dhe {_stack(dhe.widths(table.dim))}{kept}"
        case QuotientRemainder() as settings:
            return f"quotient-remainder / {settings.collisions} ({settings.combine})"
        case MixedDimension() as settings:
            return f"{settings.width}-{table.dim} mixed dimension"


def _dense_part(model: Model) -> list[str]:
    if model.graph is not None:
        return [f"Dense part: the exported graph `{model.graph.file}`."]
    if model.interaction is None or model.top is None:
        return ["Dense part: none, look-ups only."]
    kind = model.interaction.kind + (" with self terms" if model.interaction.self_terms else "")
    bottom = "" if model.bottom is None else f"bottom MLP {_widths(model.bottom)}, "
    return [f"Dense part: {bottom}interaction {kind}, top MLP {_widths(model.top)}."]


def _widths(part: Mlp) -> str:
    return _stack(part.widths)


def _stack(widths: tuple[int, ...]) -> str:
    return "-".join(map(str, widths))


def _provenance(model: Model) -> list[str]:
    source = model.provenance
    if not source.source:
        return []
    digest = f", SHA-256 `{source.sha256}`" if source.sha256 else ""
    return ["", f"Imported from `{source.source}` by importer `{source.importer}` on {source.created}{digest}."]
