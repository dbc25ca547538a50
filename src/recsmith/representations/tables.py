"""Models whose tables are held in another way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from recsmith.spec import Choice, Model, PlanError, Table


def with_tables(model: Model, features: Sequence[str], held: Callable[[Table, int], Table]) -> Model:
    """`model` with each table that one of `features` reads replaced by `held(table, i)`, i counting them.

    A table that several features share changes for all of them. Tables that stood beside them go.

    Raises:
        PlanError: the model has no such feature.
    """
    wanted = tables_of(model, features)
    numbers = {name: i for i, name in enumerate(wanted)}
    stale = {feature.beside for feature in model.features if feature.table in numbers}
    tables = tuple(
        held(table, numbers[table.name]) if table.name in numbers else table
        for table in model.tables
        if table.name not in stale
    )
    single = tuple(replace(f, beside=None) if f.table in numbers else f for f in model.features)
    return refitted(replace(model, tables=tables, features=single))


def tables_of(model: Model, features: Sequence[str]) -> tuple[str, ...]:
    """The tables that `features` read (not those beside), in the model's order.

    Raises:
        PlanError: the model has no such feature.
    """
    known = {feature.name: feature.table for feature in model.features}
    unknown = [name for name in features if name not in known]
    if unknown:
        raise PlanError(
            "represent", f"model '{model.name}' has no feature '{unknown[0]}'", f"Choose from: {', '.join(known)}."
        )
    read = {known[name] for name in features}
    return tuple(table.name for table in model.tables if table.name in read)


def refitted(model: Model) -> Model:
    """`model` with the top MLP's input as wide as the interaction makes it now."""
    if model.interaction is None or model.top is None:
        return model
    first = 0 if model.bottom is None else model.bottom.widths[-1]
    width = first + model.width
    if model.interaction.kind == "dot" and first:
        vectors = len(model.vectors) + 1
        width = first + vectors * (vectors + (1 if model.interaction.self_terms else -1)) // 2
    return replace(model, top=replace(model.top, widths=(width, *model.top.widths[1:])))


def chosen(representation: str, choice: Choice | None, usual: Choice) -> Choice:
    """`choice`, or `usual` without one.

    Raises:
        PlanError: the choice is of another representation.
    """
    if choice is None:
        return usual
    if type(choice) is not type(usual):
        raise PlanError(
            "represent",
            f"representation '{representation}' wants {type(usual).__name__} settings, found {type(choice).__name__}",
            "Give settings of that type, or none for the usual ones.",
        )
    return choice
