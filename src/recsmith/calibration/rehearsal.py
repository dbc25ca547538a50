"""The last word on a plan for this machine: its finalists are timed with the model's own tables (ours).

Predictions choose who serves what; where two ways are predicted to be near each other, a few milliseconds of each say
which is faster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from recsmith.planner.draft import drafted
from recsmith.planner.evaluate import Pricer, aim, predict
from recsmith.planner.finalists import PREDICTED, finalists
from recsmith.planner.fused import fusible
from recsmith.spec import Bucket, Executable, Jagged, Plan, Problem, Progress, Weights, Workload

from .overheads import Bind
from .whole import Serve, batches_from_far, looked_up, seconds_in_turns

WORTH_IT = 0.95
"""What was predicted stays unless something else takes less than this part of its time."""
_TRIES = 21


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
        best = min(seconds, key=lambda name: seconds[name] * (WORTH_IT if name == PREDICTED else 1.0))
        buckets.append(found[best])
        notes.append(_note(workloads, best, seconds))
    report("rehearsing", len(plan.buckets), len(plan.buckets))
    made = replace(plan, buckets=tuple(buckets), notes=(*plan.notes, *notes))
    return replace(made, predicted=predict(made, pricer, {p.workload: p.lower_bound_s for p in plan.predicted}))


def _timed(
    found: Mapping[str, Bucket], pricer: Pricer, workloads: Sequence[Workload], weights: Weights, bind: Bind
) -> dict[str, float]:
    """Seconds of each finalist, by the objective's aim."""
    model, platform = pricer.problem.model, pricer.problem.platform
    plans = [drafted(pricer, "rehearsal", (replace(bucket, batch_up_to=None),)) for bucket in found.values()]
    executables = [bind(model, plan, weights, platform=platform, pages="borrow") for plan in plans]
    try:
        spent = {
            w.name: seconds_in_turns(executables, batches_from_far(model, w), _TRIES, _served(pricer.problem, w.batch))
            for w in workloads
        }
    finally:
        for executable in executables:
            executable.close()
    return {
        name: aim(pricer.problem, {workload: seconds[at] for workload, seconds in spent.items()})
        for at, name in enumerate(found)
    }


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
