"""Seconds from measured curves and shared caches (ours; [ASYM]'s own cost model is not known, papers.md A4).

For each core and batch: look-ups x (share of each memory x its seconds per row) + table streams + ids + output
+ a fixed cost per placement. Shares come from `contention`, speeds from `curves`. Ids are new with every batch
and come from global memory; output goes to the level that still holds the buffer, or past the caches when the
tuning says `stream`. All parts add up; what the processor overlaps is in the coefficients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from recsmith.spec import Estimate, Memory, Platform, Work
from recsmith.spec.platform import Page

from .coefficients import Coefficients
from .curves import CurveSpeeds, Speeds
from .datasheet import DatasheetSpeeds
from .machine import Machine
from .prices import Prices

_KEPT_PLATFORMS = 4
FITTED = Coefficients(
    ids=0.4,
    near_write=0.6,
    far_write=2.5,
    near_apart_write=1.0,
    far_apart_write=4.0,
    stream_write=1.3,
    setup_s=5e-9,
    handoffs=1.0,
)
"""Fitted by hand to 252 look-ups, the six shapes of `benchmarks/prediction.py` and criteo_kaggle, with batches of 1 to
2048, three laws, and three plans each, on a 2-core Intel Xeon (6/167/1, AVX-512, virtual machine) that other work
disturbed, 2026-11-20: medians of |predicted / measured - 1| of 11 % on one core, 19 % symmetric and 21 % asymmetric
on two."""


class FittedCost:
    """The cost model of measured platforms; where a memory's gathers were not measured, `DatasheetSpeeds`.

    Args:
        page: pages behind the rows.
        fit: how the parts come together; by default fitted to whole look-ups.
    """

    name = "fitted"

    def __init__(self, page: Page = "huge", fit: Coefficients = FITTED) -> None:
        self.page: Page = page
        self.fit = fit
        self._prices: dict[int, Prices] = {}

    def speeds(self, memory: Memory) -> Speeds:
        """What knows the speed of `memory`."""
        return CurveSpeeds(memory, self.page) if self.fitted(memory) else DatasheetSpeeds(memory, self.page)

    def fitted(self, memory: Memory) -> bool:
        """Whether its random reads were measured."""
        return any(curve.access == "gather" for curve in memory.curves)

    def loads(self, platform: Platform, work: Mapping[str, Sequence[Work]]) -> dict[str, tuple[Estimate, ...]]:
        """Seconds of each work on each core when all cores run at the same time, batch after batch.

        The breakdown has `rows <memory>`, `stream <memory>`, `ids`, `output`, `arithmetic` and `task`.

        Raises:
            UnavailableError: the platform does not say how fast a memory is.
        """
        return self._prices_on(platform).loads({core: tuple(works) for core, works in work.items()})

    def total(self, platform: Platform, loads: Mapping[str, Sequence[Estimate]]) -> Estimate:
        """Seconds from call to return: the busiest core's parts, `call`, and `handoff` when cores work together."""
        busiest = max(loads.values(), key=lambda works: sum(w.seconds for w in works), default=())
        parts: dict[str, float] = {}
        for estimate in busiest:
            for part, seconds in estimate.breakdown.items():
                parts[part] = parts.get(part, 0.0) + seconds
        parts["call"] = platform.overheads.call_s
        if sum(1 for works in loads.values() if works) > 1:
            parts["handoff"] = self.fit.handoffs * platform.overheads.handoff_s
        return Estimate(sum(parts.values()), parts, self._source(platform))

    def _source(self, platform: Platform) -> Literal["fitted", "modelled"]:
        measured = platform.source == "measured" and all(map(self.fitted, platform.memories))
        return "fitted" if measured else "modelled"

    def _prices_on(self, platform: Platform) -> Prices:
        found = self._prices.get(id(platform))
        if found is None:
            if len(self._prices) >= _KEPT_PLATFORMS:
                self._prices.clear()
            found = Prices(Machine(platform, self.speeds), self.fit, self._source(platform))
            self._prices[id(platform)] = found
        return found
