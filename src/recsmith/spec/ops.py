"""What a representation lowers a feature to."""

from __future__ import annotations

from .model import Pooling
from .record import Record


class Gather(Record, frozen=True, tag="gather"):
    """Read a feature's rows from a table and pool them."""

    feature: str
    table: str
    pooling: Pooling
    weighted: bool = False


Op = Gather
