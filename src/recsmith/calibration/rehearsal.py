"""The last word on a plan for this machine: its finalists are timed with the model's own tables (ours).

Predictions choose who serves what; where two ways are predicted to be near each other, a few milliseconds of each say
which is faster.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np
from msgspec.structs import replace

from recsmith.planner.draft import drafted
from recsmith.planner.evaluate import Pricer, aim, predict
from recsmith.planner.finalists import PREDICTED, finalists
from recsmith.planner.fused import fusible
from recsmith.platforms.affinity import caller_on
from recsmith.spec import Bucket, Executable, Jagged, Plan, Problem, Progress, Weights, Workload

from .overheads import Bind
from .turns import Serve, Turns, compared, looked_up
from .whole import batches_from_far

WORTH_IT = 0.03
"""What was predicted stays unless it takes this much longer than something else, and certainly longer."""
_HEAT, _FINAL = 15, 24
"""Rounds of all finalists, and in each spell of those that are still in question after them."""
_SPELLS, _REST_S = 2, 0.7
"""Spells of the final and the seconds between them: where other guests share the processors, one of them may be slow
for a second, and whoever was timed in that second would be chosen for it."""
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
        best = _settled(seconds)
        buckets.append(found[best])
        notes.append(_note(workloads, best, {name: median(spent) for name, spent in seconds.items()}))
    report("rehearsing", len(plan.buckets), len(plan.buckets))
    made = replace(plan, buckets=tuple(buckets), notes=(*plan.notes, *notes))
    return replace(made, predicted=predict(made, pricer, {p.workload: p.lower_bound_s for p in plan.predicted}))


def _settled(seconds: Mapping[str, Sequence[float]]) -> str:
    """The finalist to take: the fastest, if what was predicted is slower by more than chance."""
    longest = max(map(len, seconds.values()))
    best, (slower, at_least, _) = compared({n: s for n, s in seconds.items() if len(s) == longest}, PREDICTED)
    return best if slower > WORTH_IT and at_least > 0 else PREDICTED


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

    def aims(at: int) -> list[float]:
        rounds = zip(*(each.spent[at] for each in turns.values()), strict=True)
        return [aim(problem.objective, dict(zip(turns, seconds, strict=True))) for seconds in rounds]

    everybody = range(len(executables))
    for each in turns.values():
        each.go(_HEAT)
    heat = [median(aims(at)) for at in everybody]
    among = [at for at in everybody if at == 0 or heat[at] <= min(heat) * _OUT_OF_QUESTION]
    for spell in range(_SPELLS if len(among) > 1 else 0):
        time.sleep(_REST_S if spell else 0.0)
        for each in turns.values():
            each.go(_FINAL, among)
    return [aims(at) for at in everybody]


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
