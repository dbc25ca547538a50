"""The cost model for platforms described by a data sheet (ours)."""

from __future__ import annotations

from recsmith.spec import Memory
from recsmith.spec.platform import Page

from .coefficients import Coefficients
from .curves import Speeds
from .datasheet import DatasheetSpeeds
from .fitted import FittedCost

AS_GIVEN = Coefficients()


class RooflineCost(FittedCost):
    """`FittedCost` for platforms nobody measured: speeds from `DatasheetSpeeds`, nothing fitted, all modelled."""

    name = "roofline"

    def __init__(self, page: Page = "huge", fit: Coefficients = AS_GIVEN) -> None:
        super().__init__(page, fit)

    def speeds(self, memory: Memory) -> Speeds:
        """Speeds from bandwidth and latency."""
        return DatasheetSpeeds(memory, self.page)

    def fitted(self, memory: Memory) -> bool:
        """Never."""
        return False
