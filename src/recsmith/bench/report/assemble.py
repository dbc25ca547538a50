"""From a model, its plan and benchmark records to what the report shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from recsmith import __version__, api
from recsmith.bench.records import EngineCase, LookupRecord, with_interaction
from recsmith.cost import COSTS
from recsmith.planner.evaluate import Priced, Pricer
from recsmith.planner.explain import explain
from recsmith.spec import Estimate, Measurement, Model, Plan, Platform, Problem, Workload

from .content import INTERACTION, Case, Check, Content, CoreLine, Segment, Source, TableLine, Timing
from .observe import Observed
from .parts import whole_problem


def assemble(
    model: Model,
    made: Plan,
    platform: Platform,
    *,
    observed: Observed | None = None,
    lookups: Sequence[LookupRecord] = (),
    latency: Sequence[Case] = (),
    checks: Sequence[Check] = (),
) -> Content:
    """The report's content, for the plan's largest batch.

    Args:
        observed: times of tables and cores; only predictions are shown without them.
        lookups: records of `recsmith bench lookup`.
        latency: engines by batch size, from `recsmith bench model`.
        checks: more predictions beside measurements.
    """
    workload = largest(made)
    problem = whole_problem(model, platform, workload)
    pricer = Pricer(problem, api.strategies(), COSTS["fitted"]())
    priced = pricer.price(made.bucket(workload.batch), workload)
    bounds = [found.lower_bound_s for found in made.predicted if found.workload == workload.name]
    return Content(
        title=f"{model.name}: what runs where, and how fast",
        machine=platform.machine,
        machine_source=platform.source,
        planner=made.planner,
        batch=workload.batch,
        tables=_tables(model, made, workload, observed, _reasons(made, api.problem(model, platform, made.objective))),
        cores=_cores(priced, observed, joined=pricer.joining.present),
        lower_bound_s=bounds[0] if bounds else 0.0,
        cases=tuple(_case(record) for record in lookups),
        latency=tuple(latency),
        checks=tuple(checks),
        notes=made.notes,
        facts=_facts(model, made, platform, lookups),
    )


def largest(made: Plan) -> Workload:
    """The workload of the plan's objective with the largest batch."""
    return max(made.objective.workloads, key=lambda workload: workload.batch)


def _reasons(made: Plan, problem: Problem) -> dict[str, str]:
    """Table name to the planner's reasons for the features that read it, in the bucket of the largest batch."""
    explained = explain(made, problem, api.strategies(), COSTS["fitted"]())
    found: dict[str, list[str]] = defaultdict(list)
    for feature in explained.batches[-1].features:
        found[feature.table].append(feature.why)
    return {table: " ".join(dict.fromkeys(reasons)) for table, reasons in found.items()}


def _tables(
    model: Model, made: Plan, workload: Workload, observed: Observed | None, reasons: Mapping[str, str]
) -> tuple[TableLine, ...]:
    strategies: dict[str, dict[str, None]] = defaultdict(dict)
    cores: dict[str, dict[str, None]] = defaultdict(dict)
    for stage in made.bucket(workload.batch).stages:
        for placement in stage.placements:
            strategies[placement.shard.table][placement.strategy] = None
            cores[placement.shard.table] |= dict.fromkeys(placement.cores)
    lines = []
    for table in model.tables:
        seen = observed.tables.get(table.name) if observed else None
        holders = tuple(cores[table.name])
        lines.append(
            TableLine(
                name=table.name,
                rows=table.rows,
                dim=table.dim,
                nbytes=table.nbytes,
                format=table.format.dtype,
                strategies=tuple(strategies[table.name]),
                cores=holders,
                owned=len(holders) == 1,
                predicted=seen.predicted if seen else None,
                measured=seen.measured if seen else None,
                why=reasons.get(table.name, ""),
            )
        )
    return tuple(lines)


def _cores(priced: Priced, observed: Observed | None, *, joined: bool) -> tuple[CoreLine, ...]:
    """Each core's segments; with an interaction to compute (`joined`), that is what the last stage ends in."""
    segments: dict[str, list[Segment]] = defaultdict(list)
    for at, stage in enumerate(priced.stages, 1):
        others = INTERACTION if joined and at == len(priced.stages) else "adding up"
        for core, parts in stage.items():
            for placement, estimate in parts:
                name = placement.shard.table if placement else others
                flow = placement.strategy if placement else "other"
                owned = placement is not None and len(placement.cores) == 1
                segments[core].append(Segment(core, name, flow, estimate.seconds, owned))
    lines = []
    for core, own in segments.items():
        busy = sum(segment.seconds for segment in own)
        seen = observed.cores.get(core) if observed else None
        estimate = Estimate(busy, {"rows": busy}, priced.total.source)
        alone, measured = (seen.predicted, seen.measured) if seen else (None, None)
        lines.append(CoreLine(core, estimate, tuple(own), alone, measured))
    return tuple(lines)


def _case(record: LookupRecord) -> Case:
    case = record.case
    predicted = None
    if record.predicted_s is not None and record.plan is not None:
        source: Source = "fitted" if record.plan.predicted_source == "fitted" else "modelled"
        predicted = Estimate(record.predicted_s, {"call": record.predicted_s}, source)
    return Case(
        title=f"{record.workload}{with_interaction(case)}, batch {case.batch}, {case.ids} ids, "
        f"{record.run.threads} threads",
        batch=case.batch,
        threads=record.run.threads,
        timings=tuple(_timing(found, record.cache.state) for found in record.cases),
        bound_s=record.bound_s or 0.0,
        predicted=predicted,
        missing=tuple(f"{missing.engine}: {missing.reason}" for missing in record.missing),
    )


def _timing(found: EngineCase, cache: Literal["cold", "warm"]) -> Timing:
    seen = Measurement(found.median_s, found.q1_s, found.q3_s, found.runs, cache)
    return Timing(found.engine, seen, found.version, found.settings, found.rows_per_s)


def _facts(
    model: Model, made: Plan, platform: Platform, lookups: Sequence[LookupRecord]
) -> tuple[tuple[str, str], ...]:
    facts = [
        ("recsmith", __version__),
        ("model", f"{model.name}, digest {model.digest()}, from {model.provenance.source or 'unknown'}"),
        ("plan", f"{made.planner}, digest {made.digest()}"),
        ("machine", f"{platform.machine}; profile {platform.source} {platform.date} {platform.command}".strip()),
    ]
    for record in lookups:
        run = record.run
        facts.append(("bench lookup", f"{record.workload}, {run.date}, commit {run.commit}, {run.placement}"))
    return tuple(facts)
