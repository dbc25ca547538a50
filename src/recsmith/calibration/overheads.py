"""Fixed costs of serving a batch: through the executor when it is given, else by native probes of the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Literal, Protocol

import numpy as np

from recsmith.spec import (
    Bucket,
    Executable,
    Feature,
    Jagged,
    Model,
    Objective,
    Overheads,
    Placement,
    Plan,
    Platform,
    Problem,
    Shard,
    Stage,
    Table,
    Weights,
    Workload,
)
from recsmith.spec.ops import Gather

_HANDOFFS, _WAKES = 2000, 40
_ASLEEP_S = 2e-3
_CALLS, _WARM_CALLS = 400, 50
_TABLES = (8, 64)
_ROWS = 64


class Bind(Protocol):
    """Makes an executable (`recsmith.executor.compile`)."""

    def __call__(
        self,
        model: Model,
        plan: Plan,
        weights: Weights,
        *,
        platform: Platform,
        pages: Literal["huge", "borrow"] = "huge",
    ) -> Executable:
        """An executable of `plan`; `borrow` leaves the tables where they are."""


def native_overheads(platform: Platform, default: Overheads) -> Overheads:
    """Hand-off and wake-up between the first two cores; what needs the executor stays as in `default`."""
    from recsmith import _native

    if len(platform.cores) < 2:
        return default
    here, there = platform.cores[0].index, platform.cores[1].index
    spinning = median(_native.time_handoffs(here, there, _HANDOFFS, 0.0))
    asleep = median(_native.time_handoffs(here, there, _WAKES, _ASLEEP_S))
    return Overheads(default.call_s, default.task_s, spinning, asleep)


def executor_overheads(platform: Platform, bind: Bind, native: Overheads) -> Overheads:
    """Overheads of the executor that `bind` makes.

    `call_s` and `task_s` are intercept and slope of calls for one sample over 8 and 64 tables of one cached row
    each, all on one core; `handoff_s` is what the same call takes longer when spread over two cores in quick
    succession, its work halved; `wake_s` the same after a pause.
    """
    alone = [_call_s(platform, bind, tables, cores=1) for tables in _TABLES]
    task_s = max((alone[1] - alone[0]) / (_TABLES[1] - _TABLES[0]), 0.0)
    call_s = max(alone[0] - _TABLES[0] * task_s, 0.0)
    if len(platform.cores) < 2:
        return Overheads(call_s, task_s, native.handoff_s, native.wake_s)
    halved = call_s + task_s * _TABLES[0] / 2
    spread = _call_s(platform, bind, _TABLES[0], cores=2)
    slept = _call_s(platform, bind, _TABLES[0], cores=2, pause_s=_ASLEEP_S)
    return Overheads(call_s, task_s, max(spread - halved, native.handoff_s), max(slept - halved, native.wake_s))


def _call_s(platform: Platform, bind: Bind, tables: int, *, cores: int, pause_s: float = 0.0) -> float:
    """Median seconds of a call whose tables are dealt out to the first `cores` cores."""
    model = _model(tables)
    weights = Weights({table.name: np.ones((_ROWS, 16), np.float32) for table in model.tables})
    executable = bind(model, _dealt(model, platform, cores), weights, platform=platform)
    ids = Jagged(np.zeros(tables, np.int64), None, 1)
    out = np.empty((1, model.width), np.float32)
    try:
        return _time(lambda: executable.lookup(ids, out), pause_s)
    finally:
        executable.close()


def _time(call: Callable[[], object], pause_s: float) -> float:
    seconds = []
    for _ in range(_WARM_CALLS + (_CALLS if not pause_s else _WAKES)):
        if pause_s:
            time.sleep(pause_s)
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return median(seconds[_WARM_CALLS:])


def _model(tables: int) -> Model:
    return Model(
        name="overheads",
        features=tuple(Feature(f"f{i}", f"t{i}") for i in range(tables)),
        tables=tuple(Table(f"t{i}", _ROWS, 16) for i in range(tables)),
    )


def _dealt(model: Model, platform: Platform, cores: int) -> Plan:
    ids = [core.id for core in platform.cores[:cores]]
    placements = tuple(
        Placement(feature.name, Shard(feature.table, 0, _ROWS), (ids[i % cores],), "gm")
        for i, feature in enumerate(model.features)
    )
    objective = Objective((Workload.uniform(model, 1),))
    ops = tuple(Gather(f.name, f.table, f.pooling, f.weighted) for f in model.features)
    problem = Problem(model, ops, objective, platform)
    return Plan(
        problem=problem.digest(),
        model=model.digest(),
        machine=platform.machine,
        objective=objective,
        planner="overheads",
        buckets=(Bucket(None, (Stage(placements),)),),
    )
