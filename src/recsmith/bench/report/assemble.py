"""From a model, its plan and benchmark records to what the report shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec.structs import replace

from recsmith import __version__, api
from recsmith.bench.records import EngineCase, LookupRecord, with_interaction
from recsmith.cost import COSTS
from recsmith.planner.evaluate import Priced, Pricer
from recsmith.planner.explain import explain
from recsmith.representations import seen
from recsmith.spec import Estimate, Measurement, Model, Plan, Platform, Problem

from .content import INTERACTION, Case, Check, Content, CoreLine, Segment, Source, TableLine, Timing
from .observe import Observed
from .parts import largest, whole_problem


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
    tables: list[TableLine] = []
    cores: dict[str, CoreLine] = {}
    for part, plan in seen(model, made):
        problem = whole_problem(part, platform, largest(plan))
        pricer = Pricer(problem, api.strategies(), COSTS["fitted"]())
        priced = pricer.price(plan.bucket(workload.batch), largest(plan))
        tables += _tables(part, plan, observed, _reasons(plan, api.problem(part, platform, plan.objective)))
        for line in _cores(priced, observed, joined=pricer.joining.present):
            cores[line.core] = _one_after_the_other(cores[line.core], line) if line.core in cores else line
    bounds = [found.lower_bound_s for found in made.predicted if found.workload == workload.name]
    return Content(
        title=f"{model.name}: what runs where, and how fast",
        machine=platform.machine,
        machine_source=platform.source,
        planner=made.planner,
        batch=workload.batch,
        tables=tuple(tables),
        cores=tuple(cores.values()),
        lower_bound_s=bounds[0] if bounds else 0.0,
        cases=tuple(_case(record) for record in lookups),
        latency=tuple(latency),
        checks=tuple(checks),
        notes=made.notes,
        facts=_facts(model, made, platform, lookups),
    )


def _reasons(made: Plan, problem: Problem) -> dict[str, str]:
    """Table name to the planner's reasons for the features that read it, in the bucket of the largest batch."""
    explained = explain(made, problem, api.strategies(), COSTS["fitted"]())
    found: dict[str, list[str]] = defaultdict(list)
    for feature in explained.batches[-1].features:
        found[feature.table].append(feature.why)
    return {table: " ".join(dict.fromkeys(reasons)) for table, reasons in found.items()}


def _tables(model: Model, made: Plan, observed: Observed | None, reasons: Mapping[str, str]) -> tuple[TableLine, ...]:
    strategies: dict[str, dict[str, None]] = defaultdict(dict)
    cores: dict[str, dict[str, None]] = defaultdict(dict)
    for stage in made.bucket(largest(made).batch).stages:
        for placement in stage.placements:
            strategies[placement.shard.table][placement.strategy] = None
            cores[placement.shard.table] |= dict.fromkeys(placement.cores)
    lines = []
    for table in model.tables:
        timed = observed.tables.get(table.name) if observed else None
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
                predicted=timed.predicted if timed else None,
                measured=timed.measured if timed else None,
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
        timed = observed.cores.get(core) if observed else None
        estimate = Estimate(busy, {"rows": busy}, priced.total.source)
        alone, measured = (timed.predicted, timed.measured) if timed else (None, None)
        lines.append(CoreLine(core, estimate, tuple(own), alone, measured))
    return tuple(lines)


def _one_after_the_other(first: CoreLine, second: CoreLine) -> CoreLine:
    """A core's line for two look-ups; what was seen of it alone is of both already."""
    busy = first.predicted.seconds + second.predicted.seconds
    estimate = replace(first.predicted, seconds=busy, breakdown={"rows": busy})
    return replace(first, predicted=estimate, segments=(*first.segments, *second.segments))


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
    timed = Measurement(found.median_s, found.q1_s, found.q3_s, found.runs, cache)
    return Timing(found.engine, timed, found.version, found.settings, found.rows_per_s)


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
