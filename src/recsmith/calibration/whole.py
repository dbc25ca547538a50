"""Whole look-ups of made-up models, to see what measured parts take in company (ours).

The models are none of those that benchmarks ask for: tables of all sizes with narrow rows, many small tables, a few
large ones with wide rows, samples of output that crowd a few cache sets, and bags, some of rows far from caches:
factors found where all tables are nearly small enough for a cache hold for no others.
"""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Literal

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from recsmith.cost.fitted import FittedCost
from recsmith.cost.machine import ONLY_IN_COMPANY
from recsmith.data import synthetic
from recsmith.planner.draft import drafted
from recsmith.planner.evaluate import Pricer
from recsmith.planner.symmetric import replicated
from recsmith.planner.writing import BLOCK
from recsmith.platforms import restrict
from recsmith.spec import (
    Bucket,
    Distribution,
    Feature,
    Fixed,
    Jagged,
    Model,
    Objective,
    Placement,
    Plan,
    Platform,
    Problem,
    Progress,
    Record,
    Table,
    Tuning,
    Uniform,
    Weights,
    Workload,
    Zipf,
)
from recsmith.spec.ops import Gather
from recsmith.strategies import STRATEGIES

from .factors import Trial
from .overheads import Bind
from .probes import Bench
from .turns import Turns

LAWS: tuple[Distribution, ...] = (Uniform(), Zipf(1.05), Fixed())
BATCHES = (128, 512, 2048)
_STREAMED_BYTES = 64 << 20
"""Larger models are not served by streaming all their tables for each batch."""
_ID_BYTES_KEPT, _MOST_BATCHES = 32 << 20, 2000
_TRIES = 7
_SPELLS = 2
"""Times that all of it is gone through: a second in which the machine was slow does not count."""


class Shape(Record, frozen=True):
    """A made-up model: `tables` tables whose rows grow geometrically between two numbers."""

    name: str
    tables: int
    rows: tuple[int, int]
    dim: int
    pooling_factor: float = 1.0

    def model(self, most_bytes: int) -> Model:
        """The model, its tables cut to a common number of rows so that they take `most_bytes` at most."""
        low, high = self.rows
        sizes = [round(low * (high / low) ** (i / (self.tables - 1))) for i in range(self.tables)]
        cap = max(1, most_bytes // (4 * self.dim * self.tables))
        sizes = sizes if sum(sizes) * 4 * self.dim <= most_bytes else [min(size, cap) for size in sizes]
        return Model(
            name=f"trial {self.name}",
            features=tuple(Feature(f"f{i}", f"t{i}") for i in range(self.tables)),
            tables=tuple(Table(f"t{i}", rows, self.dim) for i, rows in enumerate(sizes)),
        )


SHAPES = (
    Shape("narrow rows", 25, (8, 6_000_000), 16),
    Shape("small tables", 61, (64, 20_000), 32),
    Shape("wide rows", 11, (2_000, 1_500_000), 64),
    Shape("crowded output", 32, (16, 50_000), 32),
    Shape("bags", 6, (100, 300_000), 32, pooling_factor=10.0),
    Shape("bags of far rows", 5, (200_000, 900_000), 64, pooling_factor=12.0),
)


class Way(Record, frozen=True):
    """How a model is served.

    Attributes:
        strategy: of all features.
        stores, block: how vectors are written.
        owned: each feature by one core, instead of each sample.
    """

    strategy: str = "gm"
    stores: Literal["regular", "stream"] = "regular"
    block: int = 0
    owned: bool = False


WAYS = (
    Way(),
    Way(stores="stream"),
    Way(block=BLOCK),
    Way(stores="stream", block=BLOCK),
    Way(owned=True),
    Way(strategy="gm_ub"),
)


def trials(platform: Platform, bench: Bench, bind: Bind, progress: Progress) -> list[Trial]:
    """Look-ups of every shape, law, batch size and way on one core and on all, with their parts' predictions.

    Args:
        platform: with curves; its factors are left out.
        bench: whose memory the tables lie on.
        bind: makes executables.
        progress: told how many of the models are done.
    """
    crews = sorted({1, len(platform.cores)})
    alone = replace(platform, factors=dict.fromkeys(ONLY_IN_COMPANY, 1.0))
    machines = [restrict(alone, cores) for cores in crews]
    cases = list(itertools.product(SHAPES, LAWS, BATCHES))
    spells: list[list[Trial]] = [[] for _ in range(_SPELLS)]
    todo = [(spell, *case) for spell in spells for case in cases]
    for done, (spell, shape, law, batch) in enumerate(todo):
        progress("whole look-ups", done, len(todo))
        model = shape.model(bench.ground.nbytes)
        pooling = {feature.name: shape.pooling_factor for feature in model.features}
        workload = Workload.of(model, batch, law, pooling)
        spell += _trials_of(model, workload, machines, bench, bind)
    progress("whole look-ups", len(todo), len(todo))
    return [min(same, key=lambda trial: trial.seconds) for same in zip(*spells, strict=True)]


def _trials_of(
    model: Model, workload: Workload, machines: Sequence[Platform], bench: Bench, bind: Bind
) -> Iterator[Trial]:
    weights = Weights(_tables(model, bench))
    plans = [(machine, *plan) for machine in machines for plan in _plans(model, workload, machine)]
    executables = [bind(model, plan, weights, platform=machine, pages="borrow") for machine, plan, _ in plans]
    try:
        turns = Turns(executables, batches_from_far(model, workload))
        turns.go(_TRIES)
    finally:
        for executable in executables:
            executable.close()
    for (_, _, parts), spent in zip(plans, turns.spent, strict=True):
        yield Trial(parts, median(spent))


def _tables(model: Model, bench: Bench) -> dict[str, NDArray[np.float32]]:
    """Views of the memory that is measured on; tables may overlap no others."""
    buffer = next(iter(bench.ground.buffers.values()))
    whole = np.ctypeslib.as_array((ctypes.c_float * (bench.ground.nbytes // 4)).from_address(buffer.address))
    found, start = {}, 0
    for table in model.tables:
        stop = start + table.rows * table.dim
        found[table.name] = whole[start:stop].reshape(table.rows, table.dim)
        start = stop
    return found


def _plans(model: Model, workload: Workload, machine: Platform) -> Iterator[tuple[Plan, dict[str, float]]]:
    """The symmetric plan in every way that suits it, with the predicted seconds of its parts."""
    ops = tuple(Gather(f.name, f.table, f.pooling, f.weighted) for f in model.features)
    problem = Problem(model, ops, Objective((workload,)), machine)
    cores = [core.id for core in machine.cores]
    law = workload.accesses[0].ids
    single = max(access.pooling_factor for access in workload.accesses) <= 1
    for way in WAYS:
        if (way.owned and len(cores) == 1) or (way.block and not single):
            continue
        if way.strategy == "gm_ub" and (model.nbytes > _STREAMED_BYTES or not isinstance(law, Uniform | Fixed)):
            continue
        pricer = Pricer(problem, {way.strategy: STRATEGIES[way.strategy]()}, FittedCost())
        bucket = _in_way(replicated(pricer, cores, (workload,)), way, cores)
        plan = drafted(pricer, "symmetric", (bucket,))
        parts = dict(plan.predicted[0].total.breakdown)
        # Chunks that no id falls in are not read: of tables that are asked for one row, next to nothing is.
        yield plan, {k: v for k, v in parts.items() if not (isinstance(law, Fixed) and k.startswith("stream "))}


def _in_way(bucket: Bucket, way: Way, cores: Sequence[str]) -> Bucket:
    def change(at: int, placement: Placement) -> Placement:
        tuning: Tuning = replace(placement.tuning, stores=way.stores, block=way.block)
        kept = (cores[at % len(cores)],) if way.owned else placement.cores
        return replace(placement, tuning=tuning, cores=kept)

    stages = tuple(
        replace(stage, placements=tuple(change(at, p) for at, p in enumerate(stage.placements)))
        for stage in bucket.stages
    )
    return replace(bucket, stages=stages)


def batches_from_far(model: Model, workload: Workload) -> list[Jagged]:
    """Batches enough that ids come from far away when they come again."""
    ids = workload.batch * sum(access.pooling_factor for access in workload.accesses)
    count = min(_MOST_BATCHES, math.ceil(_ID_BYTES_KEPT / (8 * ids)))
    return synthetic.batches(model, workload, max(4, count), seed=1, lengths="exact")
