"""Seconds from measured curves and shared caches (ours; [ASYM]'s own cost model is not known, papers.md A4).

For each core and batch: look-ups x (share of each memory x its seconds per row) + table streams + ids + output
+ fixed costs per placement. Shares come from `contention`, speeds from `curves`. Ids are new with every batch
and come from global memory; output goes to the level that still holds the buffer, or past the caches when the
tuning says `stream`. Parts add up, each times the platform's factor for it: what the processor overlaps, and what a
part costs among others, `measure` has fitted to whole look-ups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from recsmith.spec import Estimate, Memory, Platform, Work
from recsmith.spec.platform import Page

from .curves import CurveSpeeds, Speeds
from .datasheet import DatasheetSpeeds
from .machine import Machine
from .prices import Prices

_KEPT_PLATFORMS = 4


class FittedCost:
    """The cost model of measured platforms; where a memory's gathers were not measured, `DatasheetSpeeds`.

    Args:
        page: pages behind the rows.
    """

    name = "fitted"

    def __init__(self, page: Page = "huge") -> None:
        self.page: Page = page
        self._prices: dict[int, Prices] = {}

    def speeds(self, memory: Memory) -> Speeds:
        """What knows the speed of `memory`."""
        return CurveSpeeds(memory, self.page) if self.fitted(memory) else DatasheetSpeeds(memory, self.page)

    def fitted(self, memory: Memory) -> bool:
        """Whether its random reads were measured."""
        return any(curve.access == "gather" for curve in memory.curves)

    def loads(self, platform: Platform, work: Mapping[str, Sequence[Work]]) -> dict[str, tuple[Estimate, ...]]:
        """Seconds of each work on each core when all cores run at the same time, batch after batch.

        The breakdown has `rows <memory>` (`bags <memory>` of rows that are added up), `decoding`, `stream <memory>`,
        `ids`, `output <memory>` (or `past caches`), `tiles` (what it takes to write in tiles), `filing`
        (of ids under chunks), `task`, `setup`, `arithmetic`.

        Raises:
            UnavailableError: the platform does not say how fast a memory is.
        """
        return self._prices_on(platform).loads({core: tuple(works) for core, works in work.items()})

    def total(self, platform: Platform, loads: Mapping[str, Sequence[Estimate]]) -> Estimate:
        """Seconds from call to return: the busiest core's parts, `call`, and `handoff` when cores
        work together or none of them is the caller's."""
        busiest = max(loads.values(), key=lambda works: sum(w.seconds for w in works), default=())
        parts: dict[str, float] = {}
        for estimate in busiest:
            for part, seconds in estimate.breakdown.items():
                parts[part] = parts.get(part, 0.0) + seconds
        parts["call"] = platform.overheads.call_s
        if sum(1 for works in loads.values() if works) > 1 or "launched" in platform.capabilities:
            parts["handoff"] = platform.factors.get("handoff", 1.0) * platform.overheads.handoff_s
        return Estimate(sum(parts.values()), parts, self._source(platform))

    def _source(self, platform: Platform) -> Literal["fitted", "modelled"]:
        measured = platform.source == "measured" and all(map(self.fitted, platform.memories))
        return "fitted" if measured else "modelled"

    def _prices_on(self, platform: Platform) -> Prices:
        found = self._prices.get(id(platform))
        if found is None:
            if len(self._prices) >= _KEPT_PLATFORMS:
                self._prices.clear()
            found = Prices(Machine(platform, self.speeds), self._source(platform))
            self._prices[id(platform)] = found
        return found
