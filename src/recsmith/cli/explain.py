"""`recsmith explain`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec.structs import replace

from recsmith.bench.units import show_bytes, show_count, show_seconds, show_some

from .options import Json, Machine, Quiet
from .output import Output, grid, mark, plain
from .serving import render_servings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from recsmith.planner.explain import Explanation, ServedBatches, ServedFeature
    from recsmith.spec import Bucket, Model, Plan, Platform, Predicted

Source = Annotated[Path, typer.Argument(metavar="PLAN", help="Written by `recsmith plan`.")]
Served = Annotated[
    Path | None, typer.Option("--model", "-m", metavar="DIR", help="Its model: adds bytes, costs and reasons.")
]
_NAMED_CORES = 8
"""Cores up to which each one's time is shown."""
_FOLDED = "[bold]Folded into the first top layer[/bold]: longer rows, multiplied beforehand, that are added to the rest"


def run(
    plan: Source, model: Served = None, platform: Machine = "cpu", *, as_json: Json = False, quiet: Quiet = False
) -> None:
    """Show a plan: who serves which table, how, what it is expected to cost, and why."""
    from recsmith.spec import Plan

    out, made = Output(as_json, quiet), Plan.open(plan)
    if model is None:
        out.say("For bytes, costs and reasons by feature add --model DIR and --platform FILE.")
        out.result(made, lambda console: render_plan(console, made))
        return
    from recsmith import api

    loaded, _ = api.load(model)
    explained = explain(made, loaded, api.platform(platform))
    out.result(explained, lambda console: render(console, explained))


def explain(made: Plan, model: Model, machine: Platform) -> Explanation:
    """The plan with what each feature costs on `machine`, and what else could have been done."""
    from recsmith import api
    from recsmith.cost import COSTS
    from recsmith.planner.explain import explain as explained
    from recsmith.representations import seen

    parts = [
        explained(plan, api.problem(part, machine, plan.objective), api.strategies(), COSTS["fitted"]())
        for part, plan in seen(model, made)
    ]
    return replace(parts[0], folded=parts[1]) if len(parts) > 1 else parts[0]


def render(console: Console, explained: Explanation) -> None:
    """Draw every range of batches, the predictions and the planner's reasons."""
    for served in explained.batches:
        _batches(console, served, explained.source)
    if explained.folded is not None:
        console.print(_FOLDED)
        for served in explained.folded.batches:
            _batches(console, served, explained.source)
        _predictions(console, explained.folded.predicted, ", folded rows")
    _rest(console, explained.predicted, explained.notes, explained.planner, explained.machine)


def render_summary(console: Console, made: Plan) -> None:
    """Draw a line a bucket, the predictions and the planner's reasons."""
    for bucket in made.buckets:
        placements = [placement for stage in bucket.stages for placement in stage.placements]
        flows = Counter(placement.strategy for placement in placements)
        owned = sum(len(placement.cores) == 1 for placement in placements)
        ways = ", ".join(f"{name} {count}" for name, count in flows.most_common())
        console.print(
            f"[bold]{_sizes(bucket)}[/bold] on {show_some(len(bucket.cores), 'core')}: "
            f"{show_some(len(placements), 'placement')} ({ways}), "
            f"{owned} on a single core"
        )
    render_servings(console, made.serving)
    if made.fold is not None:
        size = show_bytes(made.fold.nbytes)
        console.print(
            f"{show_some(len(made.fold.features), 'feature')} folded into the first top layer, {size} of rows"
        )
    _rest(console, made.predicted, made.notes, made.planner, made.machine)


def render_plan(console: Console, made: Plan) -> None:
    """Draw what the plan itself says."""
    for bucket in made.buckets:
        _bucket(console, bucket)
    if made.fold is not None:
        console.print(_FOLDED)
        for bucket in made.fold.sums.buckets:
            _bucket(console, bucket)
    render_servings(console, made.serving)
    _rest(console, made.predicted, made.notes, made.planner, made.machine)


def _batches(console: Console, served: ServedBatches, source: str) -> None:
    lines = grid("feature", ">rows", ">bytes", "served", "cores", ">predicted", "next best way")
    for feature in served.features:
        lines.add_row(
            plain(feature.feature),
            show_count(feature.rows),
            show_bytes(feature.nbytes),
            plain(_short(feature.way, served.cores)),
            _cores(feature.holders, served.cores),
            show_seconds(feature.seconds),
            plain(_next_best(feature, served.cores)),
        )
    batch = served.predicted.batch
    first, last = served.batch_from, served.batch_up_to
    if first == last:
        sizes = show_some(first, "sample")
    else:
        sizes = f"{show_count(first)} {'and more' if last is None else f'to {show_count(last)}'} samples"
    console.print(f"[bold]Batches of {sizes}[/bold], costs for {batch} ({mark(source)})")
    console.print(lines)


def _rest(console: Console, predictions: Sequence[Predicted], notes: Sequence[str], planner: str, machine: str) -> None:
    _predictions(console, predictions)
    for note in notes:
        console.print(f"- {note}", markup=False)
    console.print(f"planner {planner}, for {machine}", markup=False)


def _predictions(console: Console, predictions: Sequence[Predicted], of: str = "") -> None:
    for predicted in predictions:
        bound = f"; lower bound {show_seconds(predicted.lower_bound_s)}" if predicted.lower_bound_s else ""
        total = f"{show_seconds(predicted.total.seconds)} ({mark(predicted.total.source)})"
        console.print(f"[bold]{plain(predicted.workload)}[/bold]{of}: {total}; {_busy(predicted)}{bound}")


def _busy(predicted: Predicted) -> str:
    """Each core's time, or, of more than a few, the busiest's and the mean."""
    cores = predicted.core_seconds
    if len(cores) <= _NAMED_CORES:
        return ", ".join(f"{core} {show_seconds(seconds)}" for core, seconds in cores.items())
    busiest = max(cores, key=cores.__getitem__)
    mean = show_seconds(sum(cores.values()) / len(cores))
    return f"{len(cores)} cores busy for {mean} on average, {busiest} for {show_seconds(cores[busiest])}"


def _bucket(console: Console, bucket: Bucket) -> None:
    from recsmith.planner.explain import describe

    lines = grid("feature", "table", ">rows", "served", "cores", title=_sizes(bucket))
    for stage in bucket.stages:
        for placement in stage.placements:
            shard = placement.shard
            rows = show_count(shard.rows) if shard.start == 0 else f"{show_count(shard.start)}–{show_count(shard.stop)}"
            lines.add_row(
                plain(placement.feature),
                plain(shard.table),
                rows,
                plain(describe([placement])),
                _cores(placement.cores, bucket.cores),
            )
    console.print(lines)


def _sizes(bucket: Bucket) -> str:
    if bucket.batch_up_to is None:
        return "Batches of any size"
    return f"Batches of up to {show_some(bucket.batch_up_to, 'sample')}"


def _next_best(feature: ServedFeature, cores: Sequence[str]) -> str:
    """The least costly of the other ways, and what it would add to the call."""
    if not feature.alternatives:
        return "nothing else fits"
    best = feature.alternatives[0]
    sign = "-" if best.change_s < 0 else "+"
    return f"{sign}{show_seconds(abs(best.change_s))} {_short(best.way, cores)}"


def _short(way: str, cores: Sequence[str]) -> str:
    """`way` with cores by their own names, without their place in the machine."""
    for core in cores:
        way = way.replace(core, core.rpartition("/")[2])
    return way


def _cores(some: Iterable[str], every: Sequence[str]) -> str:
    """Cores by their own names, or "all 32"."""
    names = list(some)
    if len(every) > 1 and set(names) == set(every):
        return f"all {len(every)}"
    return " ".join(name.rpartition("/")[2] for name in names)
