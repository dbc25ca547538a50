"""Deep hash embeddings on this machine: beside plain PyTorch, and what repeats, caches and finished tables save.

Every engine serves every batch once a round, in rotating order. Ours go through the look-up call that serves models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recsmith import api
from recsmith.data import distributions, shapes, synthetic
from recsmith.data.hot import most_asked
from recsmith.executor.rows import DheRows, row_maker
from recsmith.kernels.cpu import choose_target
from recsmith.platforms.restrict import restrict
from recsmith.reference import lookup
from recsmith.representations import build, hold
from recsmith.spec import (
    Dhe,
    Feature,
    Jagged,
    Model,
    Platform,
    Progress,
    Record,
    Serving,
    Table,
    Uniform,
    Weights,
    Workload,
)

from . import records
from .plain_dhe import PlainDhe, RateProbe, Rates, timed

Precision = Literal["fp32", "bf16"]
_DTYPES: dict[Precision, str] = {"fp32": "float32", "bf16": "bfloat16"}
_PROFILE_IDS = 4_000_000
_CHECKED = 16


class DheOptions(Record, frozen=True):
    """What is timed.

    Attributes:
        workload: whose tables are DHEs; "" for one table of `rows`.
        ids: as on the command line, or "unique": one table, no id twice in a batch.
        shares: caches to time, as parts of the rows.
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
    materialise: bool = False
    rounds: int = 25


class DheCell(Record, frozen=True):
    """One engine's times.

    Attributes:
        hit_rate: part of the ids whose rows were finished beforehand.
        computed: rows computed a batch; not counted in other engines than ours.
        kept_bytes: of rows finished beforehand.
        worst: largest difference to the float64 oracle.
    """

    engine: str
    median_s: float
    q1_s: float
    q3_s: float
    hit_rate: float
    computed: float
    kept_bytes: int
    worst: float


class DheRecord(Record, frozen=True):
    """A run.

    Attributes:
        rates: by number format.
    """

    run: records.Run
    options: DheOptions
    cells: tuple[DheCell, ...]
    rates: dict[str, Rates]
    kind: Literal["dhe"] = "dhe"
    version: int = 1


@dataclass(frozen=True, slots=True)
class _Engine:
    """A call to time; `bound` counts what it computes."""

    call: Callable[[Jagged], Any]
    bound: Any = None
    kept_rows: int = 0


@dataclass(frozen=True, slots=True)
class _Held:
    """The model under test."""

    model: Model
    weights: Weights
    platform: Platform
    threads: int


def run_dhe_bench(options: DheOptions, progress: Progress | None = None) -> DheRecord:
    """Time the engines that `options` ask for.

    Raises:
        UnavailableError: torch is not installed.
    """
    import torch

    torch.set_num_threads(options.threads)
    model = _model(options)
    weights = _weights(model)
    held = _Held(model, weights, restrict(api.platform("cpu"), options.threads), options.threads)
    engines = _plain(held) | _uncached(held, options) | _finished(held, options)
    batches = _batches(model, options)
    probes = {name: _probe(held, name, options.batch) for name in _DTYPES}
    seconds = _interleaved(engines, batches, probes, options.rounds, progress)
    cells = tuple(_cell(name, seconds[name], engine, held, batches[0]) for name, engine in engines.items())
    for engine in engines.values():
        if engine.bound is not None:
            engine.bound.close()
    run = records.Run(records.commit(), records.now(), held.platform.machine, options.threads)
    return DheRecord(run, options, cells, {name: probe.rates() for name, probe in probes.items()})


def _model(options: DheOptions) -> Model:
    if options.workload:
        plain = shapes.shape(options.workload, options.dim).model
    else:
        plain = Model("dhe", (Table("t", options.rows, options.dim),), (Feature("f", "t"),))
    return hold(plain, None, options.dhe)


def _weights(model: Model) -> Weights:
    arrays = {table.name: build(table, at) for at, table in enumerate(model.tables)}
    return Weights({}, parameters={f"{table}.{name}": a for table, own in arrays.items() for name, a in own.items()})


def _each(model: Model, batch: Jagged) -> list[NDArray[np.int64]]:
    """The ids of each feature; one id a bag."""
    return list(batch.values.astype(np.int64, copy=False).reshape(len(model.features), batch.batch))


def _plain(held: _Held) -> dict[str, _Engine]:
    """PyTorch, every id by itself."""
    found = {}
    for precision, dtype in _DTYPES.items():
        tables = [PlainDhe(table, held.weights.of(table.name), dtype) for table in held.model.tables]

        def call(ids: Jagged, tables: Sequence[PlainDhe] = tables) -> Any:
            import torch

            rows = [table.rows(own) for table, own in zip(tables, _each(held.model, ids), strict=True)]
            return torch.cat(rows, 1).float().numpy()

        found[f"torch {precision}"] = _Engine(call)
    return found


def _uncached(held: _Held, options: DheOptions) -> dict[str, _Engine]:
    """Ours, computed when asked; for ids that repeat also without using that."""
    found = {}
    if options.ids != "unique":
        makers = [_maker(held, table, "fp32") for table in held.model.tables]
        out = np.empty((options.batch, held.model.width), np.float32)

        def call(ids: Jagged) -> Any:
            for at, (maker, own) in enumerate(zip(makers, _each(held.model, ids), strict=True)):
                maker.write(own, out[: len(own), at * options.dim : (at + 1) * options.dim])
            return out[: ids.batch]

        found["every id"] = _Engine(call)
    for precision in _DTYPES:
        bound = _bound(held, options, [Serving(table.name, precision=precision) for table in held.model.tables])
        found[f"computed {precision}"] = _Engine(_lookup(bound), bound)
    return found


def _finished(held: _Held, options: DheOptions) -> dict[str, _Engine]:
    """Ours, some rows or all finished beforehand."""
    found = {}
    law = _law(held.model, options)
    # Another seed than the batches': a profile is of the past.
    draw = np.random.default_rng(99)
    seen = {t.name: synthetic.ids(law, t.rows, _PROFILE_IDS, draw) for t in held.model.tables if options.shares}
    for share in options.shares:
        ways = [Serving(table.name, "cache", int(share * table.rows)) for table in held.model.tables]
        profile = {w.table: most_asked(seen[w.table], held.model.table(w.table).rows, w.hot) for w in ways}
        bound = _bound(held, options, ways, profile)
        found[f"cache {share:.2%}"] = _Engine(_lookup(bound), bound, sum(way.hot for way in ways))
    if options.materialise:
        bound = _bound(held, options, [Serving(table.name, "materialise") for table in held.model.tables])
        found["materialised"] = _Engine(_lookup(bound), bound, sum(table.rows for table in held.model.tables))
    return found


def _lookup(bound: Any) -> Callable[[Jagged], Any]:
    return lambda ids: bound.lookup(ids).pooled


def _bound(
    held: _Held, options: DheOptions, ways: Sequence[Serving], profile: Mapping[str, NDArray[np.int64]] | None = None
) -> Any:
    plan = api.plan(held.model, held.platform, Workload.uniform(held.model, options.batch), serving=ways)
    return api.compile(held.model, plan, held.weights, platform=held.platform, profile=profile)


def _maker(held: _Held, table: Table, precision: Precision) -> DheRows:
    made = row_maker(table, held.weights.of(table.name), choose_target("auto"), precision)
    assert isinstance(made, DheRows)
    return made


def _probe(held: _Held, precision: Precision, batch: int) -> RateProbe:
    largest = max(held.model.tables, key=lambda table: table.rows)
    return RateProbe(_maker(held, largest, precision), largest, _DTYPES[precision], batch)


def _law(model: Model, options: DheOptions) -> Any:
    if options.ids == "unique":
        return Uniform()
    return next(iter(distributions.parse(options.ids, [feature.name for feature in model.features]).values()))


def _batches(model: Model, options: DheOptions) -> list[Jagged]:
    count = options.rounds + 1
    if options.ids != "unique":
        return synthetic.batches(model, Workload.of(model, options.batch, _law(model, options)), count, seed=7)
    draw = np.random.default_rng(7)
    rows = model.tables[0].rows
    return [Jagged(draw.choice(rows, options.batch, replace=False), None, options.batch) for _ in range(count)]


def _interleaved(
    engines: Mapping[str, _Engine],
    batches: Sequence[Jagged],
    probes: Mapping[Precision, RateProbe],
    rounds: int,
    progress: Progress | None,
) -> dict[str, list[float]]:
    """Seconds of each call; the first round warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    names = list(engines)
    for at, ids in enumerate(batches):
        for name in names[at % len(names) :] + names[: at % len(names)]:
            call = engines[name].call
            spent = timed(lambda call=call, ids=ids: call(ids))  # type: ignore[misc]
            if at:
                seconds[name].append(spent)
        for probe in probes.values():
            probe.sample()
        if progress is not None:
            progress("rounds", at, rounds)
    return seconds


def _worst(engine: _Engine, held: _Held, ids: Jagged) -> float:
    own = [values[:_CHECKED] for values in _each(held.model, ids)]
    some = Jagged(np.concatenate(own), None, len(own[0]))
    wanted, _ = lookup(held.model, held.weights, some)
    return float(np.abs(engine.call(some) - wanted).max())


def _cell(name: str, seconds: Sequence[float], engine: _Engine, held: _Held, first: Jagged) -> DheCell:
    q1, median, q3 = (float(np.quantile(seconds, part)) for part in (0.25, 0.5, 0.75))
    asked, hits, computed = 0, 0, 0
    for counts in engine.bound.counts().values() if engine.bound is not None else ():
        asked, hits, computed = asked + counts[0], hits + counts[1], computed + counts[2]
    batches = len(seconds) + 1
    hit_rate = 1.0 if name == "materialised" else hits / max(1, asked)
    kept_bytes = engine.kept_rows * held.model.tables[0].dim * 4
    worst = _worst(engine, held, first)
    return DheCell(name, median, q1, q3, hit_rate, computed / batches, kept_bytes, worst)
