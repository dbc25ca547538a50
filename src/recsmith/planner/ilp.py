"""Asymmetric mapping as an integer programme, solved by HiGHS (ours; [ASYM] does not say how it maps)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recsmith.spec import Bucket, CostModel, Plan, Problem, Strategy, Workload

from .bound import lower_bounds
from .candidates import Classes, Option, options
from .draft import drafted, with_gap
from .evaluate import Pricer
from .greedy import assigned, best_options, better_of
from .local_search import improve
from .makespan import Makespan
from .tuning import tune

TIME_LIMIT_S = 4.0


class Ilp:
    """The assignment of options to cores with the shortest makespan, private memory being limited.

    The programme takes each option at its price among a typical core's other work, which makes it linear; the
    result is then priced as a whole plan, and given up when the greedy or the symmetric plan is better.

    Args:
        time_limit_s: when the solver stops with what it has.
    """

    name = "ilp"

    def __init__(self, time_limit_s: float = TIME_LIMIT_S) -> None:
        self._time_limit_s = time_limit_s

    def plan(self, problem: Problem, strategies: Mapping[str, Strategy], cost: CostModel) -> Plan:
        """The best of this, the greedy and the symmetric plan, with the bound and the gap in its notes.

        Raises:
            PlanError: a table fits with none of the strategies.
            UnavailableError: highspy is not installed.
        """
        pricer = Pricer(problem, strategies, cost)
        classes = Classes(pricer)
        workloads = problem.objective.workloads
        able = options(pricer, classes, workloads)
        bucket, notes = solved(pricer, classes, able, workloads, self._time_limit_s)
        return with_gap(drafted(pricer, self.name, (bucket,), notes, lower_bounds(pricer, classes, able, workloads)))


def solved(
    pricer: Pricer,
    classes: Classes,
    able: Mapping[str, Sequence[Option]],
    workloads: Sequence[Workload],
    time_limit_s: float,
) -> tuple[Bucket, list[str]]:
    """The best bucket for `workloads` that the programme, the greedy planner or replication finds; and notes."""
    found = best_options(able)
    greedy = assigned(pricer, classes, found, workloads)
    answer = Makespan(pricer, classes, found).solve(greedy, time_limit_s)
    exact = improve(pricer, classes, found, answer.assignment, workloads)
    buckets = [tune(a.bucket(pricer), pricer, workloads) for a in (exact, greedy)]
    bucket, note = better_of(pricer, min(buckets, key=lambda b: pricer.seconds(b, workloads)), workloads)
    return bucket, [note, answer.sentence]
