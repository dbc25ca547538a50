"""Our own engines: the planned one, and others that differ in one thing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from recsmith import __version__
from recsmith.executor.cuda.launches import Lookups, Output, expected_bags
from recsmith.kernels.cuda.call import Ids, StoredRows
from recsmith.kernels.cuda.gathering import GatherTuning
from recsmith.kernels.cuda.program import Launch, Window
from recsmith.spec import Bucket, Plan, UnavailableError, UnknownNameError

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
L2_WINDOW = "L2 window"
"""As planned, with the tables that are asked for most in a window of the L2. Room for it is kept aside from all engines
of the cell, so such a cell is to be compared with one without."""


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
        cores = {core: at for at, core in enumerate(case.cores)}
        self._lookups = Lookups(model, case.stored(), bags | expected_bags(plan.objective), cores, tuning)
        self._words: list[Any] = []
        self._window = kept_tables(case) if variant == L2_WINDOW else None
        element = 4 if case.output == "fp32" else 2
        self._output = Output(case.out.data_ptr(), element * case.out.stride(0), case.output)
        made = [self._of(plan.bucket(case.batch), case.ids(at)) for at in range(case.sets)]
        self._launches = [tuple(replace(launch, window=self._window) for launch in each) for each in made]
        if variant:
            self.name = f"recsmith[{variant}]"
        count = len(self._launches[0])
        self.settings = f"{plan.planner}, {count} launch{'es' if count > 1 else ''} a batch, {variant or 'as planned'}"

    def _of(self, bucket: Bucket, ids: Ids) -> tuple[Launch, ...]:
        case = self._case
        if case.bottom is None:
            return self._lookups.launches(bucket, ids, self._output, self)
        stride = case.dim * case.bottom.element_size()
        bottom = StoredRows(case.bottom.data_ptr(), case.batch, case.dim, case.operand, stride)
        return (self._lookups.joined(ids, bottom, self._output, operand=case.operand, columns=case.out.stride(0)),)

    def put(self, words: bytes) -> int:
        """The address of a copy of `words` on the GPU."""
        self._words.append(self._case.world.tensor(list(words), self._case.world.torch.uint8))
        return int(self._words[-1].data_ptr())

    def room(self, nbytes: int) -> int:
        """The address of memory of the GPU to write to."""
        self._words.append(self._case.world.empty((nbytes,), self._case.world.torch.uint8))
        return int(self._words[-1].data_ptr())

    def call(self, at: int) -> Any:
        """[B, columns], in the case's own output."""
        for launch in self._launches[at]:
            self._case.world.run(launch)
        return self._case.out

    def output(self, result: Any) -> Any:
        """[B, columns]."""
        return result

    def close(self) -> None:
        """Give the L2 back."""
        if self._window is not None:
            self._case.world.gpu.keep_l2(0)


def kept_tables(case: GpuCase) -> Window:
    """The tables side by side in memory that are asked for most and fit what the L2 keeps for windows, which is set.

    Raises:
        UnavailableError: no table fits.
    """
    room = case.world.gpu.keep_l2(case.world.l2_bytes)
    asked: dict[str, float] = defaultdict(float)
    for feature, bag in zip(case.shape.model.features, case.bags, strict=True):
        asked[feature.table] += bag
    tables = sorted(case.stored().items(), key=lambda one: one[1].address)
    best, window = 0.0, None
    for first, (_, low) in enumerate(tables):
        total = 0.0
        for name, high in tables[first:]:
            total += asked[name]
            nbytes = high.address + high.rows * high.stride_bytes - low.address
            if nbytes <= room and total > best:
                best, window = total, Window(low.address, nbytes)
    if window is None:
        raise UnavailableError("bench", f"no table fits the {room} bytes that the L2 keeps", "Leave the variant out.")
    return window


def engines(case: GpuCase, plan: Plan, variants: Sequence[str]) -> list[Ours]:
    """The planned engine and the variants asked for.

    Raises:
        UnknownNameError: there is no such variant.
    """
    known = (*VARIANTS, L2_WINDOW)
    unknown = [name for name in variants if name not in known]
    if unknown:
        raise UnknownNameError("bench", f"there is no variant '{unknown[0]}'", f"Choose from: {', '.join(known)}.")
    return [Ours(case, plan), *(Ours(case, plan, VARIANTS.get(name), name) for name in variants)]
