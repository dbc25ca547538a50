"""`recsmith bench model`: latency of whole predictions by batch size, ours beside PyTorch."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Literal

import numpy as np

from recsmith import api
from recsmith.data import distributions, shapes, synthetic
from recsmith.platforms import load, restrict
from recsmith.spec import Batch, Model, Objective, Progress, Record, RecsmithError, Weights
from recsmith.spec.platform import Page

from . import dlrm, ours, process, records, rival, rounds
from .layer_engines import torch_threads
from .model_engines import PEERS, OursModel
from .records import OURS, is_ours
from .tables import SharedTables

_TOLERANCE = 1e-5
_SETTLE_S = 0.01
_ATTEMPTS = 6
_MOST_WAITED = 0.01
_FEWEST_BATCHES = 64
_MOST_BATCHES = 4096
USUAL_RIVALS = ("torch", "compile")
UNFOLDED = "recsmith[unfolded]"


class ModelOptions(Record, frozen=True):
    """What to run.

    Attributes:
        batches: sizes, each a case of its own.
        seconds: of timed calls for each engine and batch size, about.
        rounds: turns in which the calls are made.
        interaction: how vectors are joined; as the workload's source says when None.
        fold_bytes: that folded rows may take, where vectors are concatenated; 0 folds none.
    """

    workload: str
    batches: tuple[int, ...] = (1, 16, 128, 512, 2048)
    dim: int | None = None
    ids: str = "zipf:1.05"
    threads: int = 1
    pages: Page = "huge"
    planner: str = "auto"
    strategies: tuple[str, ...] = ()
    platform: str | None = None
    max_bytes: int | None = None
    against: tuple[str, ...] = USUAL_RIVALS
    rounds: int = 15
    seconds: float = 1.0
    seed: int = 0
    interaction: Literal["dot", "cat"] | None = None
    fold_bytes: int = 0


class ModelCase(Record, frozen=True):
    """One engine at one batch size; every call is timed alone.

    Attributes:
        samples_per_s: batch over the median.
        runs: calls.
    """

    engine: str
    version: str
    settings: str
    batch: int
    median_s: float
    q1_s: float
    q3_s: float
    p90_s: float
    p99_s: float
    p999_s: float
    samples_per_s: float
    runs: int


class BatchRatio(Record, frozen=True):
    """The best rival's median over ours at one batch size; above 1 we are faster."""

    batch: int
    best_peer: str
    ratio: float


class ModelRecord(Record, frozen=True):
    """The result of `recsmith bench model`.

    Attributes:
        interaction: how vectors are joined; empty in records from before it was said.
    """

    workload: str
    run: records.Run
    ids: str
    table_bytes: int
    cases: tuple[ModelCase, ...]
    ratios: tuple[BatchRatio, ...]
    missing: tuple[records.Missing, ...]
    kind: Literal["model"] = "model"
    version: int = 1
    interaction: str = ""


def run_model_bench(options: ModelOptions, progress: Progress | None = None) -> ModelRecord:
    """Measure latency and throughput of the workload's DLRM at each batch size.

    Raises:
        RecsmithError: the workload cannot be a DLRM, our engine fails, or a rival is unknown. Rivals that fail
            otherwise are listed in `missing`.
    """
    rival.known(PEERS, options.against, "whole-model rival")
    allocator = process.keep_freed_memory()
    shape = shapes.shape(options.workload, options.dim, options.max_bytes)
    model = dlrm.dlrm(shape, options.interaction)
    tables = SharedTables(model, options.pages, options.seed, progress)
    dense = dlrm.parameters(model, options.seed)
    missing: list[records.Missing] = []
    cases: list[ModelCase] = []
    for at, batch in enumerate(options.batches):
        with ExitStack() as stack:
            made = drawn(options, shape, model, batch)
            engines = _engines(options, shape, model, tables, dense, batch, made, missing, stack)
            pins = stack.enter_context(process.Pins(options.threads))
            cases += timed(engines, made, options, batch, pins)
        if progress:
            progress("measuring batch sizes", at + 1, len(options.batches))
    machine = load(options.platform or "cpu").machine
    run = records.Run(records.commit(), records.now(), machine, options.threads, str(pins), allocator)
    return ModelRecord(
        options.workload,
        run,
        options.ids,
        model.nbytes,
        tuple(cases),
        _ratios(cases),
        tuple(dict.fromkeys(missing)),
        interaction="" if model.interaction is None else model.interaction.kind,
    )


def drawn(
    options: ModelOptions,
    shape: shapes.Shape,
    model: Model,
    batch: int,
    fewest: int = _FEWEST_BATCHES,
    most: int = _MOST_BATCHES,
) -> list[Batch]:
    """Batches of `batch` samples: `fewest` or, where they are small, up to `most`."""
    laws = distributions.parse(options.ids, [feature.name for feature in model.features])
    count = max(fewest, min(most, math.ceil(262_144 / batch)))
    drawn = synthetic.batches(model, shape.workload(batch, laws, options.ids), count, options.seed)
    rng = np.random.default_rng(options.seed)
    width = model.dense_inputs
    return [Batch(ids, rng.random((batch, width), dtype=np.float32) if width else None) for ids in drawn]


def _engines(
    options: ModelOptions,
    shape: shapes.Shape,
    model: Model,
    tables: SharedTables,
    dense: dict[str, Any],
    batch: int,
    made: Sequence[Batch],
    missing: list[records.Missing],
    stack: ExitStack,
) -> dict[str, Any]:
    laws = distributions.parse(options.ids, [feature.name for feature in model.features])
    workload = shape.workload(batch, laws, options.ids)
    machine = restrict(load(options.platform or "cpu"), options.threads)
    weights = Weights(tables.tables, dense)
    plan = ours.planned(model, machine, Objective((workload,)), options.planner, options.strategies)
    plans = {OURS: plan}
    if options.fold_bytes:
        with torch_threads(options.threads):
            folded = api.rehearse_fold(model, plan, weights, max_bytes=options.fold_bytes, platform=machine)
        plans = {OURS: folded, UNFOLDED: plan}
    engines: dict[str, Any] = {}
    for name, each in plans.items():
        executable = ours.bound(model, each, weights, machine)
        stack.callback(executable.close)
        engines[name] = OursModel(executable, options.threads, name, each.fold)
    first = engines[OURS]
    wanted = np.array(first.output(first.call(first.prepare(made[0]))))
    for name in options.against:
        try:
            engine = PEERS[name](model, tables.tables, dense, options.threads)
            stack.callback(engine.close)
            with rounds.active(engine):
                got = engine.output(engine.call(engine.prepare(made[0])))
        except Exception as error:  # a rival's failure is a result
            missing.append(records.Missing(name, f"{type(error).__name__}: {error}".splitlines()[0]))
            continue
        if not np.abs(got - wanted).max() <= _TOLERANCE * np.abs(wanted).max():
            raise RecsmithError("bench", f"'{name}' and recsmith predict differently", "Please report it.")
        engines[name] = engine
    return engines


def timed(
    engines: dict[str, Any], made: Sequence[Batch], options: ModelOptions, batch: int, pins: process.Pins
) -> list[ModelCase]:
    """Calls one by one, engines in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    pool = rounds.Pool(made)  # type: ignore[arg-type]
    calls = {}
    for name, engine in engines.items():
        with rounds.active(engine):
            trial = [_call_s(engine, engine.prepare(item)) for item in made[:8]]
        calls[name] = max(2, min(2000, math.ceil(options.seconds / options.rounds / min(trial))))
    names = list(engines)
    gc.disable()
    try:
        for turn in range(options.rounds):
            pins.apply()
            for step in range(len(names)):
                name = names[(turn + step) % len(names)]
                seconds[name] += _quiet_chunk(engines[name], pool, calls[name])
            gc.collect()
    finally:
        gc.enable()
    return [_case(engine, batch, seconds[name]) for name, engine in engines.items()]


def _quiet_chunk(engine: Any, pool: rounds.Pool, calls: int) -> list[float]:
    """Seconds of each of `calls` calls; taken again while others have the processor, the least disturbed kept."""
    best: list[float] = []
    least = math.inf
    for _ in range(_ATTEMPTS):
        prepared = [engine.prepare(item) for item in pool.take(calls + 1)]
        time.sleep(_SETTLE_S)
        with rounds.active(engine):
            engine.call(prepared[0])
            before = process.waited_s()
            seconds = [_call_s(engine, item) for item in prepared[1:]]
            waited = (process.waited_s() - before) / sum(seconds)
        if waited < least:
            best, least = seconds, waited
        if least <= _MOST_WAITED:
            break
    return best


def _call_s(engine: Any, prepared: Any) -> float:
    start = time.perf_counter()
    engine.call(prepared)
    return time.perf_counter() - start


def _case(engine: Any, batch: int, seconds: Sequence[float]) -> ModelCase:
    ordered = sorted(seconds)
    seen = rounds.measurement(ordered)
    return ModelCase(
        engine=engine.name,
        version=engine.version,
        settings=engine.settings,
        batch=batch,
        median_s=seen.seconds,
        q1_s=seen.q1_s,
        q3_s=seen.q3_s,
        p90_s=rounds.quantile(ordered, 0.9),
        p99_s=rounds.quantile(ordered, 0.99),
        p999_s=rounds.quantile(ordered, 0.999),
        samples_per_s=batch / seen.seconds,
        runs=len(ordered),
    )


def _ratios(cases: Sequence[ModelCase]) -> tuple[BatchRatio, ...]:
    found = []
    for batch in dict.fromkeys(case.batch for case in cases):
        mine = next(case for case in cases if case.batch == batch and case.engine == OURS)
        rivals = [case for case in cases if case.batch == batch and not is_ours(case.engine)]
        best = min(rivals, key=lambda case: case.median_s, default=None)
        if best:
            found.append(BatchRatio(batch, best.engine, best.median_s / mine.median_s))
    return tuple(found)
