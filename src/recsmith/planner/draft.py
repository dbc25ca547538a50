"""From buckets to a plan record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from recsmith.spec import Bucket, Plan, Predicted

from .evaluate import Pricer, predict


def drafted(
    pricer: Pricer,
    planner: str,
    buckets: Sequence[Bucket],
    notes: Sequence[str] = (),
    lower_bounds: Mapping[str, float] | None = None,
) -> Plan:
    """The plan of `buckets` for the pricer's problem, with predictions for each workload."""
    problem = pricer.problem
    plan = Plan(
        problem=problem.digest(),
        model=problem.model.digest(),
        machine=problem.platform.machine,
        objective=problem.objective,
        planner=planner,
        buckets=tuple(buckets),
        notes=(*pricer.notes, *notes),
    )
    return msgspec.structs.replace(plan, predicted=predict(plan, pricer, lower_bounds))


def with_gap(plan: Plan) -> Plan:
    """`plan` with a note for each workload that has a lower bound: how far above it the plan lies."""
    notes = [
        f"{p.workload}: predicted {p.total.seconds * 1e6:.2f} us, no plan can take less than "
        f"{p.lower_bound_s * 1e6:.2f} us (gap {gap(p):.1%})."
        for p in plan.predicted
        if p.lower_bound_s > 0
    ]
    return msgspec.structs.replace(plan, notes=(*plan.notes, *notes))


def gap(predicted: Predicted) -> float:
    """The part of the predicted time that a better plan could save at most."""
    return max(0.0, 1 - predicted.lower_bound_s / predicted.total.seconds)
