"""A model cut behind its top MLP's first layer, so that rows can be multiplied with that layer beforehand (ours).

A concatenating model's first layer is W [bottom | x_1 | .. | x_F] + b, which is a sum: W_0 bottom + W_1 x_1 + .. + b.
A feature whose rows are stored as W_i x costs one longer row instead of a product. Bags, means and weights are sums as
well, so they stay what they are.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from msgspec.structs import replace

from recsmith.spec import Feature, Interaction, Mlp, Model, Plan, PlanError, Table

from .serving import served

FIRST, AFTER = "first", "after"
"""What the parameters of the layer that is left, and of those above it, are called."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A concatenating model, cut.

    Attributes:
        rest: bottom MLP and the features that are not folded, concatenated.
        sums: what adds folded rows to the first layer over what `rest` gives; None when no feature is folded.
        first: the first layer over what `rest` gives, without its activation when there is something to add.
        after: the layers above; None when there are none.
    """

    rest: Model
    sums: Model | None
    first: Mlp
    after: Mlp | None


def obstacle(model: Model) -> tuple[str, str] | None:
    """Why no feature of `model` can be folded, and what to do about it; None when some can be."""
    if model.interaction is None or model.top is None:
        return "has no interaction and top MLP of its own", "Plan it without --fold."
    if model.interaction.kind != "cat":
        kind = model.interaction.kind
        return (
            f"joins vectors by {kind}, so that its first top layer is no sum over features",
            "Plan it without --fold: only what is concatenated can be folded.",
        )
    if model.computes:
        return (
            "computes some of its rows",
            "Store them first (recsmith convert DIR --to table), or plan it without --fold.",
        )
    if model.top.activations[0] == "sigmoid":
        return (
            "has a sigmoid behind its first top layer",
            "Plan it without --fold: only relu, or no activation, is applied to sums.",
        )
    return None


def foldable(model: Model) -> tuple[Feature, ...]:
    """The features that can be folded, each for itself.

    Raises:
        PlanError: there are none; says why.
    """
    found = obstacle(model)
    if found is not None:
        raise PlanError("fold", f"model '{model.name}' {found[0]}", found[1])
    return tuple(feature for feature in model.features if feature.pooling != "none")


def candidates(model: Model) -> dict[str, int]:
    """Feature name to the bytes of its folded rows, for all that can be folded together: one feature has to stay.

    Raises:
        PlanError: there are none; says why.
    """
    able = foldable(model)
    assert model.top is not None
    nbytes = {feature.name: _folded(model, feature, model.top.widths[1]).nbytes for feature in able}
    if len(able) == len(model.features):
        del nbytes[max(nbytes, key=lambda name: nbytes[name])]
    return nbytes


def cut(model: Model, names: Collection[str]) -> Parts:
    """`model` with the features called `names` folded, or none.

    Raises:
        PlanError: one of them cannot be folded, or none would be left.
    """
    able = {feature.name for feature in foldable(model)}
    wrong = sorted(set(names) - able)
    if wrong:
        raise PlanError(
            "fold",
            f"feature '{wrong[0]}' cannot be folded into the first layer of model '{model.name}'",
            f"Choose from: {', '.join(sorted(able))}.",
        )
    stays = tuple(feature for feature in model.features if feature.name not in names)
    goes = tuple(feature for feature in model.features if feature.name in names)
    if not stays:
        raise PlanError("fold", f"all features of model '{model.name}' would be folded", "Leave out the largest.")
    assert model.top is not None
    outputs = model.top.widths[1]
    read = {feature.table for feature in stays}
    tables = tuple(table for table in model.tables if table.name in read)
    rest = replace(model, features=stays, tables=tables, top=None)
    bottom = 0 if model.bottom is None else model.bottom.widths[-1]
    layer = Mlp((bottom + rest.width, outputs), ("none" if goes else model.top.activations[0],), FIRST)
    after = Mlp(model.top.widths[1:], model.top.activations[1:], AFTER) if len(model.top.activations) > 1 else None
    return Parts(rest, _sums(model, goes, layer) if goes else None, layer, after)


def seen(model: Model, plan: Plan) -> tuple[tuple[Model, Plan], ...]:
    """What strategies see of `model` under `plan`: models of stored rows, each with the plan of its look-up.

    One; or what is not folded, and what is.

    Raises:
        PlanError: the plan folds features that the model cannot fold.
    """
    if plan.fold is None:
        return ((served(model, plan.serving), plan),)
    parts = cut(model, plan.fold.features)
    assert parts.sums is not None
    return (parts.rest, rest_of(plan, parts.rest)), (parts.sums, plan.fold.sums)


def rest_of(plan: Plan, rest: Model) -> Plan:
    """The part of `plan` that serves what is not folded, as a plan for `rest`."""
    objective = plan.objective.among([feature.name for feature in rest.features])
    return replace(plan, model=rest.digest(), objective=objective, fold=None)


def _sums(model: Model, goes: tuple[Feature, ...], layer: Mlp) -> Model:
    assert model.top is not None
    tables = tuple(_folded(model, feature, layer.widths[1]) for feature in goes)
    return Model(
        name=f"{model.name}, first layer",
        tables=tables,
        features=tuple(replace(feature, table=table.name) for feature, table in zip(goes, tables, strict=True)),
        dense_inputs=layer.widths[0],
        bottom=layer,
        interaction=Interaction("sum_relu" if model.top.activations[0] == "relu" else "sum"),
    )


def _folded(model: Model, feature: Feature, outputs: int) -> Table:
    """The table of a folded feature's rows; features that shared one have one each, as their columns differ."""
    return Table(f"{feature.name}, folded", model.table_of(feature).rows, outputs)
