"""Folding the first top layer into rows: which features, and the executable."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from recsmith.planner.folding import choices
from recsmith.spec import Jagged, Model, Objective, Platform, Progress, Weights, Workload

from .compose import plan, rehearse
from .compose import platform as open_platform

if TYPE_CHECKING:
    from recsmith.executor.folded import FoldedExecutable
    from recsmith.executor.memory import Pages

_ROUNDS = 7


@dataclass(frozen=True, slots=True)
class Folding:
    """What was timed, and what was fastest.

    Attributes:
        names: features to fold; none where that was slower.
        seconds: of a call from ids to the first layer's output, by number of folded features.
    """

    names: tuple[str, ...]
    seconds: dict[int, float]


def fold(
    model: Model,
    weights: Weights,
    workloads: Workload | Objective | Iterable[Workload],
    *,
    platform: Platform | None = None,
    max_bytes: int,
    progress: Progress | None = None,
) -> Folding:
    """The features of a concatenating model whose rows are best stored multiplied with the top MLP's first layer.

    A few sets of features are bound and timed with the model's own tables where they are, and none.

    Args:
        max_bytes: that folded rows may take, all together.

    Raises:
        PlanError: the model's first layer cannot be folded.
    """
    from recsmith.calibration.turns import Turns
    from recsmith.calibration.whole import batches_from_far
    from recsmith.executor.folding import foldable, folded_bytes

    here = platform or open_platform("cpu")
    asked = _objective(workloads)
    nbytes = {feature.name: folded_bytes(model, feature) for feature in foldable(model)}
    if len(nbytes) == len(model.features):
        del nbytes[max(nbytes, key=lambda name: nbytes[name])]
    sets: list[tuple[str, ...]] = [(), *choices(nbytes, here, max_bytes)]
    largest = max(asked.workloads, key=lambda workload: workload.batch)
    dim = 0 if model.bottom is None else model.bottom.widths[-1]
    bottom_BE = np.random.default_rng(0).random((largest.batch, dim), dtype=np.float32) if dim else None
    pool, seconds = batches_from_far(model, largest), {}

    def serve(executable: Any, ids: Jagged) -> None:
        executable.first_layer(ids, bottom_BE)

    for at, names in enumerate(sets):
        if progress:
            progress("timing folded features", at, len(sets))
        # One after the other: all of them together would take several times the memory.
        with layered(model, weights, names, asked, platform=here, pages="borrow") as executable:
            turns = Turns([executable], pool, serve)  # type: ignore[list-item]
            turns.go(_ROUNDS)
        seconds[len(names)] = median(turns.spent[0])
    best = min(sets, key=lambda names: seconds[len(names)])
    return Folding(best, seconds)


def layered(
    model: Model,
    weights: Weights,
    names: Collection[str],
    workloads: Workload | Objective | Iterable[Workload],
    *,
    platform: Platform | None = None,
    pages: Pages = "huge",
    rehearsed: bool = False,
    **options: Any,
) -> FoldedExecutable:
    """An executable that goes on through the top MLP's first layer, with the features called `names` folded into it.

    Args:
        pages: as of `recsmith.executor.compile`; folded rows are copied to huge pages unless it is "4k".
        rehearsed: time ways of writing what is not folded, as `rehearse` does.
        options: `isa`, `progress`; see `recsmith.executor.compile`.

    Raises:
        PlanError: a feature cannot be folded.
        CapacityError: folded rows do not fit in memory.
    """
    from recsmith.executor.folded import compile_folded
    from recsmith.executor.folding import fold as cut

    here = platform or open_platform("cpu")
    asked = _objective(workloads)
    folded = cut(model, weights, names)
    rest = plan(folded.rest, here, _of(asked, folded.rest))
    if rehearsed:
        rest = rehearse(folded.rest, rest, folded.rest_weights, platform=here)
    sums = None if folded.sums is None else plan(folded.sums, here, _of(asked, folded.sums), planner="fused")
    return compile_folded(model, folded, rest, sums, platform=here, pages=pages, **options)


def _objective(workloads: Workload | Objective | Iterable[Workload]) -> Objective:
    if isinstance(workloads, Objective):
        return workloads
    return Objective((workloads,) if isinstance(workloads, Workload) else tuple(workloads))


def _of(objective: Objective, model: Model) -> Objective:
    """The objective as far as it concerns `model`'s features."""
    names = {feature.name for feature in model.features}

    def reduced(workload: Workload) -> Workload:
        return replace(workload, accesses=tuple(a for a in workload.accesses if a.feature in names))

    return replace(objective, workloads=tuple(map(reduced, objective.workloads)))
