"""Our own engines: the planned one, and others that differ in one thing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recsmith import __version__
from recsmith.executor.cuda.launches import Lookups, Output, expected_bags
from recsmith.kernels.cuda.lookup import GatherTuning
from recsmith.spec import Plan, UnknownNameError

from .case import GpuCase

VARIANTS: dict[str, GatherTuning] = {
    "sample": GatherTuning(order="sample"),
    "feature": GatherTuning(order="feature"),
    "2 rows": GatherTuning(rows_in_flight=2),
    "8 rows": GatherTuning(rows_in_flight=8),
    "past": GatherTuning(stores="past"),
    "128 threads": GatherTuning(threads=128, min_blocks=6),
    "more blocks": GatherTuning(blocks_wanted=528),
    "fewer blocks": GatherTuning(blocks_wanted=132),
}
"""Ways to look up from global memory, by name."""


class Ours:
    """Launches of a plan, on ids and rows where they lie."""

    name = "recsmith"
    version = __version__
    op_based = False
    graphable = True

    def __init__(self, case: GpuCase, plan: Plan, tuning: GatherTuning | None = None, variant: str = "") -> None:
        self._case = case
        model = case.shape.model
        bags = {feature.name: float(bag) for feature, bag in zip(model.features, case.bags, strict=True)}
        lookups = Lookups(model, case.stored(), bags | expected_bags(plan.objective), tuning)
        element = 4 if case.output == "fp32" else 2
        output = Output(case.out.data_ptr(), element * case.width, case.output)
        bucket = plan.bucket(case.batch)
        self._launches = [lookups.launches(bucket, case.ids(at), output) for at in range(case.sets)]
        if variant:
            self.name = f"recsmith[{variant}]"
        count = len(self._launches[0])
        self.settings = f"{plan.planner}, {count} launch{'es' if count > 1 else ''} a batch, {variant or 'as planned'}"

    def call(self, at: int) -> Any:
        """[B, W], in the case's own output."""
        for launch in self._launches[at]:
            self._case.world.run(launch)
        return self._case.out

    def output(self, result: Any) -> Any:
        """[B, W]."""
        return result

    def close(self) -> None:
        """Nothing of its own."""


def engines(case: GpuCase, plan: Plan, variants: Sequence[str]) -> list[Ours]:
    """The planned engine and the variants asked for.

    Raises:
        UnknownNameError: there is no such variant.
    """
    unknown = [name for name in variants if name not in VARIANTS]
    if unknown:
        raise UnknownNameError("bench", f"there is no variant '{unknown[0]}'", f"Choose from: {', '.join(VARIANTS)}.")
    return [Ours(case, plan), *(Ours(case, plan, VARIANTS[name], name) for name in variants)]
