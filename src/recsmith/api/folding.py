"""Folding the first top layer into rows: by name, or as far as timing shows that it pays."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from msgspec.structs import replace

from recsmith.planner.folding import check_room, choices
from recsmith.representations.folding import candidates, cut
from recsmith.spec import CapacityError, Fold, Model, Plan, Platform, Progress, UnavailableError, Weights

from .compose import compile, plan
from .compose import platform as open_platform


def fold(model: Model, made: Plan, names: Collection[str], *, platform: Platform | None = None, **options: Any) -> Plan:
    """`made` with the features called `names` folded into the top MLP's first layer, the others planned anew.

    When the plan is bound, the rows of these features are multiplied with their columns of the layer; a look-up then
    reads one longer row of float32 instead of a row that is multiplied each time.

    Args:
        platform: what `made` was made for; probed when None.
        options: `planner`, `allow`, `cost`, as of `plan`.

    Raises:
        PlanError: the model's first layer is no sum over features, or one of them cannot be folded.
        UnavailableError: the platform is no CPU.
        CapacityError: the tables and the folded rows do not fit in memory together.
    """
    here = _processor(platform)
    parts = cut(model, names)
    if parts.sums is None:
        return made
    check_room(parts.rest.nbytes, parts.sums.nbytes, here)
    stays, goes = (tuple(f.name for f in part.features) for part in (parts.rest, parts.sums))
    rest = plan(parts.rest, here, made.objective.among(stays), **options)
    sums = plan(parts.sums, here, made.objective.among(goes), **{**options, "planner": "fused"})
    return replace(
        rest, problem=made.problem, model=made.model, objective=made.objective, fold=Fold(goes, parts.sums.nbytes, sums)
    )


def rehearse_fold(
    model: Model,
    made: Plan,
    weights: Weights,
    *,
    max_bytes: int,
    platform: Platform | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Plan:
    """`made`, or the plan with features folded that predicts fastest, timed here; says which, and why.

    Sets of the features with the fewest bytes are bound one after the other and take turns with `made`. A set is
    taken only where whole predictions are faster by more than chance.

    Args:
        made: made for this machine; folds nothing.
        max_bytes: that all folded rows together may take; less where memory has less room beside the tables.
        platform: what `made` was made for; probed when None.
        options: `planner`, `allow`, `cost`, as of `plan`.

    Raises:
        PlanError: the model's first layer is no sum over features.
        UnavailableError: the platform is no CPU.
        ForeignPlanError: the plan belongs to another model or machine.
        CapacityError: `max_bytes` is less than what the smallest feature needs, or memory is.
    """
    from recsmith.calibration.folding import note, trial
    from recsmith.executor.memory import free_bytes

    here = _processor(platform)
    nbytes = candidates(model)
    room = min(here.main_bytes, free_bytes()) - model.nbytes
    sets = choices(nbytes, here, min(max_bytes, room))
    if not sets:
        raise CapacityError(
            "fold",
            f"{max_bytes:,} bytes were allowed and memory has room for {max(room, 0):,}; the smallest feature needs "
            f"{min(nbytes.values(), default=0):,} when folded",
            "Allow more bytes, free memory, or do not fold.",
        )
    plans = {len(names): fold(model, made, names, platform=here, **options) for names in sets}
    trials = {}
    with compile(model, made, weights, platform=here, pages="borrow") as plain:
        for done, (count, each) in enumerate(plans.items()):
            if progress:
                progress("timing folded features", done, len(plans))
            # One after the other: all of them together would take several times the memory.
            with compile(model, each, weights, platform=here, pages="borrow") as folded:
                trials[count] = trial(plain, folded, model, made.objective, here)
    faster = {count: each for count, each in trials.items() if each.faster}
    best = min(faster, key=lambda count: faster[count].folded_s / faster[count].plain_s, default=0)
    taken = plans[best] if best else made
    said = note(len(model.features), taken.fold.nbytes if taken.fold else 0, best, trials)
    return replace(taken, notes=(*taken.notes, said))


def _processor(platform: Platform | None) -> Platform:
    here = platform or open_platform("cpu")
    if here.kind != "cpu":
        raise UnavailableError("fold", f"platform '{here.name}' is no CPU", "Plan it without --fold, or for a CPU.")
    return here
