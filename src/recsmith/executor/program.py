"""A plan in the numbers that the native engine takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsmith.spec import Bucket, Feature, Model, Placement, Plan, PlanError, UnavailableError

from .lanes import Lanes
from .memory import Placed

_FLOWS = {"gm": 0, "l1": 1, "gm_ub": 2, "l1_ub": 3}
_ROW_TYPES = {"fp32": 0, "fp16": 1, "bf16": 2, "int8": 3, "int4": 4}
_LEVELS = {"none": 0, "t0": 1, "t1": 2, "nta": 3}
_POOLINGS = {"sum": 0, "mean": 1, "none": 2}
_POLICIES = {"error": 0, "clamp": 1, "wrap": 2, "default": 3}
_MODULO = 4
_JOINTS = {"dot": 0, "cat": 1, "sum": 2, "sum_relu": 2}


def tables(model: Model, placed: Mapping[str, Placed]) -> list[Any]:
    """Per table: address, rows, stride, dim, row type."""
    return [
        (
            placed[table.name].address,
            table.rows,
            placed[table.name].stride_bytes,
            table.dim,
            _ROW_TYPES[table.format.dtype],
        )
        for table in model.tables
    ]


def features(model: Model) -> list[Any]:
    """Per feature: table, column, pooling, weighted, padding id, policy, default row."""
    numbers = {table.name: i for i, table in enumerate(model.tables)}
    columns = model.columns
    return [
        (
            numbers[feature.table],
            columns.get(feature.name, 0),
            _POOLINGS[feature.pooling],
            feature.weighted,
            feature.padding_id,
            _policy(feature),
            feature.id_map.default_row,
        )
        for feature in model.features
    ]


def buckets(model: Model, plan: Plan, lanes: Lanes) -> list[Any]:
    """Per bucket: largest batch, number of stages, tasks in the plan's order, samples a block when the last is fused.

    Raises:
        UnavailableError: the plan asks for a data flow that this executor does not have.
    """
    numbers = {feature.name: i for i, feature in enumerate(model.features)}
    return [
        (
            bucket.batch_up_to,
            len(bucket.stages),
            _tasks(bucket, numbers, lanes),
            bucket.fused.block if bucket.fused else 0,
        )
        for bucket in plan.buckets
    ]


def joint(model: Model) -> tuple[int, bool, int] | None:
    """The interaction: kind, self terms or relu, length of the bottom MLP's output; None when the model has none.

    Without a bottom MLP vectors are concatenated.

    Raises:
        PlanError: vectors of several lengths are to be multiplied or added up, or to be added to no bottom output.
    """
    kind = model.interaction
    if kind is None:
        return None
    first = 0 if model.bottom is None else model.bottom.widths[-1]
    if kind.kind == "cat" or (kind.kind == "dot" and not first):
        return _JOINTS["cat"], False, first
    dims = {model.table_of(feature).dim for feature in model.pooled} | {first}
    if len(dims) > 1:
        raise PlanError(
            "compile",
            f"a {kind.kind} interaction needs vectors of one length, found {sorted(dims)}",
            "Check the model and its bottom MLP.",
        )
    return _JOINTS[kind.kind], kind.self_terms if kind.kind == "dot" else kind.kind == "sum_relu", first


def _policy(feature: Feature) -> int:
    # Modulo is what the feature's ids mean; nothing is left for the policy to do.
    return _MODULO if feature.id_map.kind == "modulo" else _POLICIES[feature.id_map.out_of_range]


def _tasks(bucket: Bucket, numbers: Mapping[str, int], lanes: Lanes) -> list[Any]:
    alone = len(bucket.cores) == 1
    found = []
    for at, stage in enumerate(bucket.stages):
        for placement in stage.placements:
            if placement.strategy not in _FLOWS:
                raise UnavailableError(
                    "compile",
                    f"feature '{placement.feature}' asks for strategy '{placement.strategy}', which has no CPU kernel",
                    f"Choose from: {', '.join(_FLOWS)}.",
                )
            # Cores that share a lane are one: they would serve the same samples one after the other.
            on = [0] if alone else list(dict.fromkeys(lanes.of[core] for core in placement.cores))
            for lane, part in zip(on, placement.samples.split(len(on)), strict=True):
                share = (part.start.numerator, part.start.denominator, part.stop.numerator, part.stop.denominator)
                found.append(_task(placement, (numbers[placement.feature], at, lane), share))
    return found


def _task(placement: Placement, where: tuple[int, int, int], share: tuple[int, int, int, int]) -> Any:
    tuning = placement.tuning
    return (
        where,
        (placement.shard.start, placement.shard.stop),
        share,
        _FLOWS[placement.strategy],
        (tuning.prefetch_distance, _LEVELS[tuning.prefetch_level], tuning.block, tuning.stores == "stream"),
    )
