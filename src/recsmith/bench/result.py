"""From samples to the record of a look-up benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recsmith.spec import Model

from . import records, rounds
from .engine import Engine
from .records import OURS, is_ours
from .session import Bench

DEFAULT, SYMMETRIC = "torch", "recsmith[symmetric]"
_ID_BYTES, _ELEMENT_BYTES = 8, 4


def summarise(
    bench: Bench,
    run: records.Run,
    pool: rounds.Pool,
    samplers: Mapping[str, rounds.Sampler],
    seconds: Mapping[str, Sequence[float]],
    bound: records.Bound | None,
    last_level_bytes: int,
) -> records.LookupRecord:
    """The record: medians, the best rivals, the share of what the machine allows."""
    per_call = sum(len(ids.values) for ids in pool.batches) / len(pool.batches)
    cases = tuple(
        engine_case(engine, seconds[name], samplers[name], per_call) for name, engine in bench.engines.items()
    )
    mine = next(case.median_s for case in cases if case.engine == OURS)
    peers = [case for case in cases if not is_ours(case.engine)]
    best = min(peers, key=lambda case: case.median_s, default=None)
    best_op = min((case for case in peers if case.op_based), key=lambda case: case.median_s, default=None)
    bound_s = None if bound is None else bound.seconds
    times = {case.engine: case.median_s for case in cases}
    return records.LookupRecord(
        workload=bench.options.workload,
        run=run,
        case=described(bench, per_call),
        cache=records.CacheState(
            state="cold",
            last_level_bytes=last_level_bytes,
            pool_batches=len(pool.batches),
            pool_bytes=sum(ids.values.nbytes for ids in pool.batches),
            batches_used=pool.used,
        ),
        cases=cases,
        best_peer=best.engine if best else None,
        ratio_to_best_peer=best.median_s / mine if best else None,
        best_op_peer=best_op.engine if best_op else None,
        ratio_to_best_op_peer=best_op.median_s / mine if best_op else None,
        bound_s=bound_s,
        share_of_bound=None if bound_s is None else bound_s / mine,
        predicted_s=bench.bound.predicted_s if bench.bound else None,
        missing=tuple(bench.missing),
        bound=bound,
        plan=bench.bound.summary(bench.options.batch) if bench.bound else None,
        ratio_to_default=times[DEFAULT] / mine if DEFAULT in times else None,
        ratio_to_symmetric=times.get(SYMMETRIC, mine) / mine if bench.options.fuse == "none" else None,
    )


def engine_case(
    engine: Engine, seconds: Sequence[float], sampler: rounds.Sampler, per_call: float
) -> records.EngineCase:
    """One engine's rounds; `per_call` look-ups a call."""
    seen = rounds.measurement(seconds)
    return records.EngineCase(
        engine=engine.name,
        version=engine.version,
        settings=engine.settings,
        median_s=seen.seconds,
        q1_s=seen.q1_s,
        q3_s=seen.q3_s,
        rows_per_s=per_call / seen.seconds,
        runs=seen.runs,
        calls=sampler.calls,
        disturbed=sampler.disturbed,
        op_based=engine.op_based,
    )


def described(bench: Bench, per_call: float) -> records.LookupCase:
    """What is looked up, `per_call` rows a call."""
    options, model = bench.options, bench.shape.model
    return records.LookupCase(
        batch=options.batch,
        ids=options.ids,
        lengths=options.lengths,
        dims=tuple(sorted({table.dim for table in model.tables})),
        dtype=options.dtype,
        pages=options.pages,
        fuse=options.fuse,
        planner=options.planner,
        row_cap=bench.shape.row_cap,
        table_bytes=model.nbytes,
        huge_share=bench.tables.huge_share,
        rows_per_call=per_call,
        bytes_moved=_row_bytes(model, bench.shape.pooling_factors) * options.batch
        + _ID_BYTES * per_call
        + _ELEMENT_BYTES * options.batch * bench.setup.columns,
    )


def _row_bytes(model: Model, factors: Sequence[float]) -> float:
    """Bytes of rows read for one sample."""
    rows = [(table := model.table_of(feature)).format.row_bytes(table.dim) for feature in model.features]
    return sum(count * nbytes for count, nbytes in zip(factors, rows, strict=True))
