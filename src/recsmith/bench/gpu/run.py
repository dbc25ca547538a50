"""One cell on the GPU: every engine checked in float64, recorded, and replayed in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from recsmith import api
from recsmith.data import distributions, shapes
from recsmith.platforms import load
from recsmith.spec import Plan, Platform, Progress, RecsmithError, Workload

from .. import records, rival, rounds
from . import ours
from .case import GpuCase
from .engine import GpuEngine
from .options import GpuOptions
from .rivals import RIVALS, joined
from .timing import Recording, copy_rate, in_turns
from .world import World, world_here

_COPIED_BYTES = 1 << 30


def run_gpu_lookup(
    options: GpuOptions, progress: Progress | None = None, world: World | None = None
) -> records.LookupRecord:
    """Measure one cell.

    Args:
        progress: told how far it is.
        world: the GPU; the first one here when None.

    Raises:
        UnavailableError: there is no GPU.
        RecsmithError: the cell is impossible, or our own engine fails. Rivals that fail are listed in `missing`.
    """
    here = world or world_here()
    platform = load(options.platform)
    shape = shapes.shape(options.workload, options.dim, options.max_bytes, options.dtype)
    laws = distributions.parse(options.ids, [feature.name for feature in shape.model.features])
    workload = shape.workload(options.batch, laws, options.ids)
    plan = planned(options, shape.model, platform, workload)
    case = GpuCase(
        here,
        shape,
        options.batch,
        options.ids,
        options.output or None,
        options.sets,
        options.seed,
        joint=options.fuse == "dot",
        cores=tuple(core.id for core in platform.cores),
    )
    missing: list[records.Missing] = []
    with ExitStack() as stack:
        stack.callback(case.close)
        makers: dict[str, Callable[[GpuCase], GpuEngine]] = {}
        engines = _admitted(case, ours.engines(case, plan, options.variants), stack)
        for name in options.against:
            made = _makers(name, missing)
            made = made if case.bottom is None else joined.behind(made)
            makers |= {getattr(make, "name", name): make for make in made}
        for name, make in makers.items():
            _admit_rival(case, name, make, engines, missing, stack)
        recordings = _recorded(here, engines, case.sets, missing)
        seconds = in_turns(recordings, options.rounds, progress)
        rate = 0.0 if here.emulated else copy_rate(here, _COPIED_BYTES)
        return _record(options, case, engines, recordings, seconds, rate, missing, plan, platform)


def planned(options: GpuOptions, model: Any, platform: Platform, workload: Workload) -> Plan:
    """The plan, of the strategies that were asked for."""
    return api.plan(model, platform, workload, planner=options.planner, allow=options.strategies or None)


def _admitted(case: GpuCase, made: Sequence[GpuEngine], stack: ExitStack) -> dict[str, GpuEngine]:
    """Our engines, all of which have to be right."""
    found: dict[str, GpuEngine] = {}
    for engine in made:
        stack.callback(engine.close)
        problem = _problem(case, engine)
        if problem:
            raise RecsmithError("bench", f"{engine.name} {problem}", "This is a fault in recsmith: please report it.")
        found[engine.name] = engine
    return found


def _makers(name: str, missing: list[records.Missing]) -> Sequence[Callable[[GpuCase], GpuEngine]]:
    found, why = rival.makers(RIVALS, name)
    if why:
        missing.append(records.Missing(name, why))
    return found


def _admit_rival(
    case: GpuCase,
    name: str,
    make: Callable[[GpuCase], GpuEngine],
    engines: dict[str, GpuEngine],
    missing: list[records.Missing],
    stack: ExitStack,
) -> None:
    try:
        engine = make(case)
        stack.callback(engine.close)
        problem = _problem(case, engine)
    except Exception as error:  # a rival's failure, of whatever kind, is a result and not the end
        problem = rival.reason(error)
    if problem:
        missing.append(records.Missing(name, problem))
    else:
        engines[engine.name] = engine


def _problem(case: GpuCase, engine: GpuEngine) -> str:
    """What is wrong with the engine's vectors for the first and the last set of ids."""
    for at in sorted({0, case.sets - 1}):
        case.out.fill_(float("nan"))
        got = engine.output(engine.call(at))
        case.world.synchronize()
        problem = case.disagreement(got, at)
        if problem:
            return problem
    return ""


def _recorded(
    world: World, engines: Mapping[str, GpuEngine], sets: int, missing: list[records.Missing]
) -> dict[str, Recording]:
    found = {}
    for name, engine in engines.items():
        try:
            found[name] = Recording(world, engine, sets)
        except Exception as error:
            if engine.name.startswith("recsmith"):
                raise
            missing.append(records.Missing(name, f"cannot be recorded as a graph: {rival.reason(error)}"))
    return found


def _record(
    options: GpuOptions,
    case: GpuCase,
    engines: Mapping[str, GpuEngine],
    recordings: Mapping[str, Recording],
    seconds: Mapping[str, Sequence[float]],
    rate: float,
    missing: Sequence[records.Missing],
    plan: Plan,
    platform: Platform,
) -> records.LookupRecord:
    cases = tuple(
        _engine_case(engines[name], recordings[name], seconds[name], case.sets, case.length) for name in recordings
    )
    times = {each.engine: each.median_s for each in cases}
    mine = times["recsmith"]
    rivals = {name: s for name, s in times.items() if not name.startswith("recsmith")}
    best = min(rivals, key=lambda name: rivals[name], default=None)
    by_ops = {each.engine: each.median_s for each in cases if each.op_based}
    best_op = min(by_ops, key=lambda name: by_ops[name], default=None)
    bound = _bound(case, rate)
    place = "emulated: seconds say nothing" if case.world.emulated else "graphs replayed in turns, the GPU's clock"
    return records.LookupRecord(
        workload=options.workload,
        run=records.Run(records.commit(), records.now(), platform.machine, len(platform.cores), place),
        case=_described(options, case),
        cache=_cache(case),
        cases=cases,
        best_peer=best,
        ratio_to_best_peer=None if best is None else rivals[best] / mine,
        best_op_peer=best_op,
        ratio_to_best_op_peer=None if best_op is None else by_ops[best_op] / mine,
        bound_s=None if bound is None else bound.seconds,
        share_of_bound=None if bound is None else bound.seconds / mine,
        predicted_s=plan.predicted[0].total.seconds,
        missing=tuple(missing),
        bound=bound,
        plan=_summary(options, plan, platform, case),
        ratio_to_default=times["torch"] / mine if "torch" in times else None,
    )


def _engine_case(
    engine: GpuEngine, recording: Recording, seconds: Sequence[float], sets: int, length: int
) -> records.EngineCase:
    seen = rounds.measurement(seconds)
    return records.EngineCase(
        engine=engine.name,
        version=engine.version,
        settings=f"{engine.settings}; {recording.way}",
        median_s=seen.seconds,
        q1_s=seen.q1_s,
        q3_s=seen.q3_s,
        rows_per_s=length / seen.seconds,
        runs=seen.runs,
        calls=sets,
        disturbed=0,
        op_based=engine.op_based,
    )


def _bound(case: GpuCase, rate: float) -> records.Bound | None:
    """Different rows, ids and vectors moved once at the rate of a copy; what stays in the L2 can be quicker."""
    if not rate:
        return None
    element = 4 if case.output == "fp32" else 2
    written = case.batch * case.columns * element
    near = 0 if case.bottom is None else case.batch * case.dim * case.bottom.element_size()
    read = case.distinct_row_bytes() + 4 * case.length + near
    return records.Bound((read + written) / rate, written / rate, "bytes at the rate of a copy")


def _described(options: GpuOptions, case: GpuCase) -> records.LookupCase:
    return records.LookupCase(
        batch=case.batch,
        ids=options.ids,
        lengths="exact",
        dims=(case.dim,),
        dtype=case.dtype,
        pages="gpu",
        fuse=options.fuse,
        planner=options.planner,
        row_cap=case.shape.row_cap,
        table_bytes=case.shape.model.nbytes,
        huge_share=0.0,
        rows_per_call=case.length,
        bytes_moved=case.bytes_moved(),
    )


def _cache(case: GpuCase) -> records.CacheState:
    return records.CacheState(
        state="cold",
        last_level_bytes=case.world.l2_bytes,
        pool_batches=case.sets,
        pool_bytes=4 * case.sets * case.length,
        batches_used=case.sets,
    )


def _summary(options: GpuOptions, plan: Plan, platform: Platform, case: GpuCase) -> records.PlanSummary:
    bucket = plan.bucket(options.batch)
    counts: dict[str, int] = {}
    for stage in bucket.stages:
        for placement in stage.placements:
            counts[placement.strategy] = counts.get(placement.strategy, 0) + 1
    return records.PlanSummary(
        planner=plan.planner,
        plan_digest=plan.digest(),
        isa=case.world.gpu.architecture,
        cores=(f"{len(bucket.cores)} SMs",),
        placements=counts,
        notes=plan.notes,
        predicted_source=plan.predicted[0].total.source,
        platform_source=platform.source,
    )
