"""How computed tables are served in a given memory: by their own cost and popularity."""

from __future__ import annotations

from collections.abc import Iterable

from recsmith.cost.computing import Computing
from recsmith.planner.serving import Option, choose
from recsmith.spec import CapacityError, DecoderPrecision, Model, Objective, Platform, Serving, Table, Workload

from .weighing import table_bytes

# Caches that are considered, as parts of a table's rows.
SHARES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)


def servings_within(
    model: Model,
    platform: Platform,
    workloads: Workload | Objective | Iterable[Workload],
    memory_bytes: int,
    *,
    precision: DecoderPrecision = "fp32",
) -> tuple[Serving, ...]:
    """Compute, cache or materialise, for each computed table of `model`, with all embeddings in `memory_bytes`.

    Caches hold the ids that a workload's distributions say are asked for most; `compile` wants to be told
    which these are (`profile`).

    Raises:
        CapacityError: they do not fit.
        UnavailableError: the platform does not say how fast its cores compute.
    """
    asked = Objective.of(workloads)
    computing = Computing(platform)
    stored = sum(table.nbytes for table in model.tables if table.computed is None)
    if stored > memory_bytes:
        raise CapacityError(
            "plan",
            f"stored tables take {stored:,} bytes; {max(memory_bytes, 0):,} are allowed",
            "Allow more memory, or store rows in fewer bits (recsmith convert --to int8).",
        )
    options = {
        table.name: [_priced(model, table, way, asked, computing) for way in _ways(table, precision)]
        for table in model.tables
        if table.computed is not None
    }
    return tuple(option.serving for option in choose(options, memory_bytes - stored))


def _ways(table: Table, precision: DecoderPrecision) -> list[Serving]:
    sizes = sorted({round(share * table.rows) for share in SHARES} - {0})
    caches = [Serving(table.name, "cache", size, precision) for size in sizes]
    return [Serving(table.name, precision=precision), *caches, Serving(table.name, "materialise")]


def _priced(model: Model, table: Table, way: Serving, asked: Objective, computing: Computing) -> Option:
    each = [computing.rows(model, way, workload) for workload in asked.workloads]
    weights = asked.weights or (1.0,) * len(each)
    mean = sum(weight * seconds for weight, seconds in zip(weights, each, strict=True)) / sum(weights)
    seconds = max(each) if asked.aim == "worst" else mean
    return Option(Serving(way.table, way.way, way.hot, way.precision, seconds), table_bytes(table, way), seconds)
