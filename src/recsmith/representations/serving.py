"""The model that strategies see: tables of finished rows where rows are computed.

A computed table becomes a table of slots. Slot 0 stands for padding, the next ones hold finished rows of hot ids, the
rest takes the rows that a batch asks for. Pooling, weights and the interaction are then the look-up's business, in its
one native call, whatever a row was made of.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from recsmith.spec import Dhe, Feature, IdMap, Model, PlanError, Serving, Table


def servings(model: Model, asked: Iterable[Serving] = ()) -> tuple[Serving, ...]:
    """One a computed table, in the model's order: as `asked`, or computed whenever a row is wanted.

    Raises:
        PlanError: the model computes no such table, more hot ids are asked for than there are, or centroids for
            what is no DHE.
    """
    by_table = {one.table: one for one in asked}
    found = []
    for table in model.tables:
        if table.computed is not None:
            found.append(by_table.pop(table.name, Serving(table.name)))
            if not 0 <= found[-1].hot <= table.rows:
                raise PlanError(
                    "plan", f"{found[-1].hot} hot ids of table '{table.name}' of {table.rows} rows", "Ask for fewer."
                )
            _check_centroids(found[-1], table)
    if by_table:
        raise PlanError("plan", f"table '{next(iter(by_table))}' is not computed", "Say nothing about its serving.")
    return tuple(found)


def _check_centroids(way: Serving, table: Table) -> None:
    if way.way == "centroids" and (way.centroids < 1 or not isinstance(table.computed, Dhe)):
        raise PlanError(
            "plan",
            f"{way.centroids} centroids for table '{table.name}'",
            "Ask for 1 or more, and only for tables held as DHE.",
        )


def served(model: Model, ways: Iterable[Serving]) -> Model:
    """`model` with tables of finished rows for computed ones, and a feature for each second vector."""
    if not model.computes:
        return model
    slots = {way.table for way in ways if way.way != "materialise"}
    tables = tuple(
        table if table.computed is None else Table(table.name, table.rows + (table.name in slots), table.dim)
        for table in model.tables
    )
    first = tuple(_served(replace(feature, beside=None), slots) for feature in model.features)
    second = tuple(
        _served(replace(feature, name=beside_name(feature), table=feature.beside, beside=None), slots)
        for feature in model.features
        if feature.beside is not None
    )
    return replace(model, tables=tables, features=(*first, *second))


def beside_name(feature: Feature) -> str:
    """What the feature of a second vector is called."""
    return f"{feature.name}+{feature.beside}"


def _served(feature: Feature, slots: set[str]) -> Feature:
    if feature.table not in slots:
        return feature
    return replace(feature, padding_id=None if feature.padding_id is None else 0, id_map=IdMap())
