"""The last word on a plan for this machine: its finalists are timed with the model's own tables (ours).

Predictions choose who serves what; where two ways are predicted to be near each other, a few milliseconds of each say
which is faster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np
from msgspec.structs import replace

from recsmith.planner.draft import drafted
from recsmith.planner.evaluate import Pricer, predict
from recsmith.planner.finalists import PREDICTED, finalists
from recsmith.planner.fused import fusible
from recsmith.platforms.affinity import caller_on
from recsmith.spec import Bucket, Executable, Jagged, Plan, Problem, Progress, Weights, Workload

from .overheads import Bind
from .turns import Serve, Turns, by_aim, final, looked_up, settled
from .whole import batches_from_far

_HEAT = 15
"""Rounds of all finalists, before those that are still in question go to the final."""
_OUT_OF_QUESTION = 1.15


def rehearsed(plan: Plan, pricer: Pricer, weights: Weights, bind: Bind, progress: Progress | None = None) -> Plan:
    """`plan` with each bucket that has a workload as the fastest of its finalists serves it.

    A model that joins its vectors natively is timed up to the top MLP's input, so that fused buckets and written ones
    are compared by what a prediction waits for.

    Args:
        plan: for the pricer's problem, on this machine.
        bind: makes executables.
    """
    report = progress or (lambda step, done, total: None)
    buckets: list[Bucket] = []
    notes: list[str] = []
    for done, bucket in enumerate(plan.buckets):
        report("rehearsing", done, len(plan.buckets))
        workloads = [w for w in plan.objective.workloads if plan.bucket(w.batch) == bucket]
        if not workloads:
            buckets.append(bucket)
            continue
        found = finalists(bucket, pricer, workloads)
        seconds = _timed(found, pricer, workloads, weights, bind)
        best = settled(seconds, PREDICTED)
        buckets.append(found[best])
        notes.append(_note(workloads, best, {name: median(spent) for name, spent in seconds.items()}))
    report("rehearsing", len(plan.buckets), len(plan.buckets))
    made = replace(plan, buckets=tuple(buckets), notes=(*plan.notes, *notes))
    return replace(made, predicted=predict(made, pricer, {p.workload: p.lower_bound_s for p in plan.predicted}))


def _timed(
    found: Mapping[str, Bucket], pricer: Pricer, workloads: Sequence[Workload], weights: Weights, bind: Bind
) -> dict[str, list[float]]:
    """Seconds of each finalist by the objective's aim, one number a round; those that are clearly slow have fewer."""
    problem = pricer.problem
    plans = [drafted(pricer, "rehearsal", (replace(bucket, batch_up_to=None),)) for bucket in found.values()]
    executables = [bind(problem.model, plan, weights, platform=problem.platform, pages="borrow") for plan in plans]
    try:
        # The processor that plans leave to the caller: elsewhere it would get in the way of the other lanes.
        with caller_on(problem.platform.cores[0].index):
            spent_FR = _race(executables, problem, workloads)
    finally:
        for executable in executables:
            executable.close()
    return dict(zip(found, spent_FR, strict=True))


def _race(executables: Sequence[Executable], problem: Problem, workloads: Sequence[Workload]) -> list[list[float]]:
    """The aim's seconds of each executable and round; the first, which was predicted, goes all the way."""
    turns = {
        w.name: Turns(executables, batches_from_far(problem.model, w), _served(problem, w.batch)) for w in workloads
    }

    everybody = range(len(executables))
    for each in turns.values():
        each.go(_HEAT)
    heat = [median(by_aim(turns, problem.objective, at)) for at in everybody]
    among = [at for at in everybody if at == 0 or heat[at] <= min(heat) * _OUT_OF_QUESTION]
    if len(among) > 1:
        final(turns.values(), among)
    return [by_aim(turns, problem.objective, at) for at in everybody]


def _served(problem: Problem, batch: int) -> Serve:
    """A call as predictions make it: look-up and interaction where the executable does both, else the look-up."""
    model = problem.model
    if not fusible(problem) or model.interaction is None or model.interaction.kind not in ("dot", "cat"):
        return looked_up
    dim = 0 if model.bottom is None else model.bottom.widths[-1]
    bottom_BE = np.random.default_rng(0).random((batch, dim), dtype=np.float32) if dim else None

    def serve(executable: Executable, ids: Jagged) -> None:
        interact = getattr(executable, "interact", None)
        if interact is None:
            looked_up(executable, ids)
        else:
            interact(ids, bottom_BE)

    return serve


def _note(workloads: Sequence[Workload], best: str, seconds: Mapping[str, float]) -> str:
    times = ", ".join(f"{name} {taken * 1e6:.1f} us" for name, taken in seconds.items())
    return f"Batch {_sizes(workloads)}, timed here: {best} ({times})."


def _sizes(workloads: Sequence[Workload]) -> str:
    return ", ".join(str(batch) for batch in sorted({workload.batch for workload in workloads}))
