"""The cost model for platforms described by a data sheet (ours)."""

from __future__ import annotations

from recsmith.spec import Memory

from .curves import Speeds
from .datasheet import DatasheetSpeeds
from .fitted import FittedCost


class RooflineCost(FittedCost):
    """`FittedCost` for platforms nobody measured: speeds from `DatasheetSpeeds`, nothing fitted, all modelled."""

    name = "roofline"

    def speeds(self, memory: Memory) -> Speeds:
        """Speeds from bandwidth and latency."""
        return DatasheetSpeeds(memory, self.page)

    def fitted(self, memory: Memory) -> bool:
        """Never."""
        return False
