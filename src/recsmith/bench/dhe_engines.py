"""What takes part when deep hash embeddings are timed: plain PyTorch, and ours with more or less finished before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recsmith import api
from recsmith.cost.computing import Computing
from recsmith.data import distributions, shapes, synthetic
from recsmith.data.hot import most_asked
from recsmith.executor.centroids import SAMPLE
from recsmith.executor.rows import DheRows, row_maker
from recsmith.kernels.cpu import choose_target
from recsmith.platforms.restrict import restrict
from recsmith.representations import build, hold
from recsmith.spec import (
    Dhe,
    Feature,
    Jagged,
    Model,
    Plan,
    Platform,
    Record,
    Serving,
    Table,
    Uniform,
    Weights,
    Workload,
)

from .plain_dhe import PlainDhe, RateProbe

Precision = Literal["fp32", "bf16"]
DTYPES: dict[Precision, str] = {"fp32": "float32", "bf16": "bfloat16"}
_PROFILE_IDS = 4_000_000
_KEPT = 0.01


class DheOptions(Record, frozen=True):
    """What is timed.

    Attributes:
        workload: whose tables are DHEs; "" for one table of `rows`.
        ids: as on the command line, or "unique": one table, no id twice in a batch.
        shares: caches to time, as parts of the rows.
        centroids: approximations to time, by number of centroids; 1 % of the rows are kept beside them.
        materialise: whether rows that were all finished beforehand are timed too.
    """

    workload: str = ""
    rows: int = 1_000_000
    ids: str = "unique"
    batch: int = 2048
    threads: int = 1
    dhe: Dhe = Dhe()
    dim: int = 16
    shares: tuple[float, ...] = ()
    centroids: tuple[int, ...] = ()
    materialise: bool = False
    rounds: int = 25


@dataclass(frozen=True, slots=True)
class Engine:
    """A call to time; `bound` counts what it computes, as `plan` says."""

    call: Callable[[Jagged], Any]
    bound: Any = None
    kept_rows: int = 0
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """The model under test."""

    model: Model
    weights: Weights
    platform: Platform


def held_of(options: DheOptions) -> Held:
    """The model that `options` describe, untrained, and the machine it runs on."""
    if options.workload:
        stored = shapes.shape(options.workload, options.dim).model
    else:
        stored = Model("dhe", (Table("t", options.rows, options.dim),), (Feature("f", "t"),))
    model = hold(stored, None, options.dhe)
    return Held(model, _weights(model), restrict(api.platform("cpu"), options.threads))


def _weights(model: Model) -> Weights:
    arrays = {table.name: build(table, at) for at, table in enumerate(model.tables)}
    return Weights({}, parameters={f"{table}.{name}": a for table, own in arrays.items() for name, a in own.items()})


def each(model: Model, batch: Jagged) -> list[NDArray[np.int64]]:
    """The ids of each feature; one id a bag."""
    return list(batch.values.astype(np.int64, copy=False).reshape(len(model.features), batch.batch))


def plain(held: Held) -> dict[str, Engine]:
    """PyTorch, every id by itself."""
    found = {}
    for precision, dtype in DTYPES.items():
        tables = [PlainDhe(table, held.weights.of(table.name), dtype) for table in held.model.tables]

        def call(ids: Jagged, tables: Sequence[PlainDhe] = tables) -> Any:
            import torch

            rows = [table.rows(own) for table, own in zip(tables, each(held.model, ids), strict=True)]
            return torch.cat(rows, 1).float().numpy()

        found[f"torch {precision}"] = Engine(call)
    return found


def uncached(held: Held, options: DheOptions) -> dict[str, Engine]:
    """Ours, computed when asked; for ids that repeat also without using that."""
    found = {}
    if options.ids != "unique":
        makers = [_maker(held, table, "fp32") for table in held.model.tables]
        out = np.empty((options.batch, held.model.width), np.float32)

        def call(ids: Jagged) -> Any:
            for at, (maker, own) in enumerate(zip(makers, each(held.model, ids), strict=True)):
                maker.write(own, out[: len(own), at * options.dim : (at + 1) * options.dim])
            return out[: ids.batch]

        found["every id"] = Engine(call)
    for precision in DTYPES:
        ways = [Serving(table.name, precision=precision) for table in held.model.tables]
        found[f"computed {precision}"] = _engine(held, options, ways)
    return found


def finished(held: Held, options: DheOptions) -> dict[str, Engine]:
    """Ours, some rows or all finished beforehand."""
    found = {}
    law = law_of(held.model, options)
    # Another seed than the batches': a profile is of the past.
    draw = np.random.default_rng(99)
    wanted = options.shares or options.centroids
    seen = {t.name: synthetic.ids(law, t.rows, _PROFILE_IDS, draw) for t in held.model.tables if wanted}
    asked: list[tuple[str, float, int]] = [(f"cache {share:.2%}", share, 0) for share in options.shares]
    asked += [(f"centroids {count}", _KEPT, count) for count in options.centroids]
    for name, share, count in asked:
        way: Literal["centroids", "cache"] = "centroids" if count else "cache"
        ways = [Serving(t.name, way, int(share * t.rows), centroids=count) for t in held.model.tables]
        profile = {}
        for each in ways:
            rows = held.model.table(each.table).rows
            profile[each.table] = most_asked(seen[each.table], rows, min(rows, each.hot + (SAMPLE if count else 0)))
        found[name] = _engine(held, options, ways, profile)
    if options.materialise:
        found["materialised"] = _engine(held, options, [Serving(t.name, "materialise") for t in held.model.tables])
    return found


def _engine(
    held: Held, options: DheOptions, ways: Sequence[Serving], profile: Mapping[str, NDArray[np.int64]] | None = None
) -> Engine:
    """The model served `ways`, with what it takes predicted."""
    plan = api.plan(held.model, held.platform, Workload.uniform(held.model, options.batch), serving=ways)
    bound = api.compile(held.model, plan, held.weights, platform=held.platform, profile=profile)
    rows = {table.name: table.rows for table in held.model.tables}
    kept = sum(rows[way.table] if way.way == "materialise" else way.hot for way in ways)
    return Engine(lambda ids: bound.lookup(ids).pooled, bound, kept, plan)


def predicted(held: Held, options: DheOptions, plan: Plan, platform: Platform) -> float:
    """Seconds of a look-up by the cost models for `platform`, without MLPs."""
    workload = Workload.of(held.model, options.batch, law_of(held.model, options))
    computing = Computing(platform).seconds(held.model, plan.serving, workload)
    return plan.predicted[0].total.seconds + computing.seconds - computing.breakdown["mlps"]


def _maker(held: Held, table: Table, precision: Precision) -> DheRows:
    made = row_maker(table, held.weights.of(table.name), choose_target("auto"), precision)
    assert isinstance(made, DheRows)
    return made


def probe(held: Held, precision: Precision, batch: int) -> RateProbe:
    """What times the parts of our DHE of the largest table."""
    largest = max(held.model.tables, key=lambda table: table.rows)
    return RateProbe(_maker(held, largest, precision), largest, DTYPES[precision], batch)


def law_of(model: Model, options: DheOptions) -> Any:
    """How ids are drawn; evenly where they are distinct."""
    if options.ids == "unique":
        return Uniform()
    return next(iter(distributions.parse(options.ids, [feature.name for feature in model.features]).values()))
