"""Symmetric mapping: every core holds every table and serves its part of the batch ([ASYM], papers.md A4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recsmith.spec import Bucket, CostModel, Placement, Plan, Problem, Shard, Stage, Strategy


class Symmetric:
    """The baseline: strategy gm for all tables on all cores."""

    name = "symmetric"

    def plan(self, problem: Problem, strategies: Mapping[str, Strategy], cost: CostModel) -> Plan:
        """One bucket, one placement a feature, spread over all cores."""
        return Plan(
            problem=problem.digest(),
            model=problem.model.digest(),
            machine=problem.platform.machine,
            objective=problem.objective,
            planner=self.name,
            buckets=(Bucket(None, (Stage(replicated(problem, [c.id for c in problem.platform.cores])),)),),
        )


def replicated(problem: Problem, cores: Sequence[str], strategy: str = "gm") -> tuple[Placement, ...]:
    """Every feature on all of `cores`, each serving an equal part of the batch."""
    return tuple(
        Placement(
            feature=op.feature,
            shard=Shard(op.table, 0, problem.model.table(op.table).rows),
            cores=tuple(cores),
            strategy=strategy,
        )
        for op in problem.ops
    )
