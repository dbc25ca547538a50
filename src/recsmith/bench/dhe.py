"""Deep hash embeddings on this machine: beside plain PyTorch, and what repeats, caches and finished tables save.

Every engine serves every batch once a round, in rotating order. Ours go through the look-up call that serves models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from msgspec.structs import replace

from recsmith.calibration.computing import arithmetic
from recsmith.data import synthetic
from recsmith.executor.timing import mlp_of, rows_of
from recsmith.reference import lookup
from recsmith.spec import Arithmetic, Jagged, Model, Progress, Record, Workload

from . import process, records
from .dhe_engines import (
    DTYPES,
    DheOptions,
    Engine,
    Held,
    Precision,
    each,
    finished,
    held_of,
    law_of,
    plain,
    predicted,
    probe,
    uncached,
)
from .plain_dhe import RateProbe, Rates, timed

# Ids that are compared with the oracle, shared among features.
_CHECKED_IDS = 512
_FEWEST_CHECKED = 16


class DheCell(Record, frozen=True):
    """One engine's times.

    Attributes:
        hit_rate: part of the ids whose rows were finished beforehand.
        computed: rows computed a batch; not counted in other engines than ours.
        kept_bytes: of rows finished beforehand.
        worst: largest difference to the float64 oracle.
        error: root mean square of differences to the oracle over that of the rows' own distances from their mean.
        expected_hits: of the ids' distribution; 0 without a cache.
        predicted_s: by the machine's arithmetic, measured in the same run; 0 for other engines than ours.
        roofline_s: without it, as for machines on which it was not measured.
    """

    engine: str
    median_s: float
    q1_s: float
    q3_s: float
    hit_rate: float
    computed: float
    kept_bytes: int
    worst: float
    error: float = 0.0
    expected_hits: float = 0.0
    predicted_s: float = 0.0
    roofline_s: float = 0.0


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


def run_dhe_bench(options: DheOptions, progress: Progress | None = None) -> DheRecord:
    """Time the engines that `options` ask for.

    Raises:
        UnavailableError: torch is not installed.
    """
    import torch

    allocator = process.keep_freed_memory()
    torch.set_num_threads(options.threads)
    held = held_of(options)
    engines = plain(held) | uncached(held, options) | finished(held, options)
    batches = _batches(held.model, options)
    probes = {name: probe(held, name, options.batch) for name in DTYPES}
    seconds = _interleaved(engines, batches, probes, options.rounds, progress)
    speeds = arithmetic((options.threads,), rows_of, mlp_of)
    cells = tuple(
        _cell(name, seconds[name], engine, held, batches[0], options, speeds) for name, engine in engines.items()
    )
    for engine in engines.values():
        if engine.bound is not None:
            engine.bound.close()
    run = records.Run(records.commit(), records.now(), held.platform.machine, options.threads, "", allocator)
    return DheRecord(run, options, cells, {name: timer.rates() for name, timer in probes.items()})


def _batches(model: Model, options: DheOptions) -> list[Jagged]:
    count = options.rounds + 1
    if options.ids != "unique":
        return synthetic.batches(model, Workload.of(model, options.batch, law_of(model, options)), count, seed=7)
    draw = np.random.default_rng(7)
    rows = model.tables[0].rows
    return [Jagged(draw.choice(rows, options.batch, replace=False), None, options.batch) for _ in range(count)]


def _interleaved(
    engines: Mapping[str, Engine],
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
        for timer in probes.values():
            timer.sample()
        if progress is not None:
            progress("rounds", at, rounds)
    return seconds


def _errors(engine: Engine, held: Held, ids: Jagged) -> tuple[float, float]:
    """The largest difference to the oracle, and that of the average row."""
    checked = max(_FEWEST_CHECKED, _CHECKED_IDS // len(held.model.features))
    own = [values[:checked] for values in each(held.model, ids)]
    some = Jagged(np.concatenate(own), None, len(own[0]))
    wanted, _ = lookup(held.model, held.weights, some)
    off = engine.call(some) - wanted
    around = wanted - wanted.mean(axis=0)
    return float(np.abs(off).max()), float(np.sqrt(np.square(off).mean() / np.square(around).mean()))


def _cell(
    name: str,
    seconds: Sequence[float],
    engine: Engine,
    held: Held,
    first: Jagged,
    options: DheOptions,
    speeds: tuple[Arithmetic, ...],
) -> DheCell:
    q1, median, q3 = (float(np.quantile(seconds, part)) for part in (0.25, 0.5, 0.75))
    asked, hits, computed = 0, 0, 0
    for counts in engine.bound.counts().values() if engine.bound is not None else ():
        asked, hits, computed = asked + counts[0], hits + counts[1], computed + counts[2]
    batches = len(seconds) + 1
    hit_rate = 1.0 if name == "materialised" else hits / max(1, asked)
    kept_bytes = engine.kept_rows * held.model.tables[0].dim * 4
    expected = _expected(held, options, engine) if engine.kept_rows > 0 and name != "materialised" else 0.0
    worst, error = _errors(engine, held, first)
    found = DheCell(name, median, q1, q3, hit_rate, computed / batches, kept_bytes, worst, error, expected)
    if engine.plan is None:
        return found
    machines = (replace(held.platform, arithmetic=speeds), held.platform)
    fitted_s, roofline_s = (predicted(held, options, engine.plan, machine) for machine in machines)
    return replace(found, predicted_s=fitted_s, roofline_s=roofline_s)


def _expected(held: Held, options: DheOptions, engine: Engine) -> float:
    """Part of the ids that hit, by their distribution; features are asked alike."""
    law, total = law_of(held.model, options), sum(table.rows for table in held.model.tables)
    hits = [law.popularity(t.rows).share(engine.kept_rows * t.rows / total) for t in held.model.tables]
    return sum(hits) / len(hits)
