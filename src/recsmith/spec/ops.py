"""What a representation lowers a feature to."""

from __future__ import annotations

from typing import Literal, TypeAlias

from .model import Pooling
from .record import Record
from .representation import Transform


class Gather(Record, frozen=True, tag="gather"):
    """Read a feature's rows from a table and pool them."""

    feature: str
    table: str
    pooling: Pooling
    weighted: bool = False


class Hash(Record, frozen=True, tag="hash"):
    """Make a code of `k` numbers of each id."""

    feature: str
    table: str
    k: int
    transform: Transform


class Decode(Record, frozen=True, tag="decode"):
    """Make a row of each code: an MLP of `widths`."""

    feature: str
    table: str
    widths: tuple[int, ...]


class Combine(Record, frozen=True, tag="combine"):
    """Make a row of rows of smaller tables.

    Attributes:
        parts: parameters of the table that are read or multiplied with.
    """

    feature: str
    table: str
    how: Literal["multiply", "add", "project"]
    parts: tuple[str, ...]


Op: TypeAlias = Gather | Hash | Decode | Combine
