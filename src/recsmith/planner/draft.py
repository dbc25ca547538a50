"""From buckets to a plan record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from recsmith.spec import Bucket, Plan

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
        notes=tuple(notes),
    )
    return msgspec.structs.replace(plan, predicted=predict(plan, pricer, lower_bounds))
