"""The state of one look-up benchmark."""

from __future__ import annotations

from dataclasses import dataclass, field

from recsmith.data.shapes import Shape
from recsmith.spec import Platform, Workload

from . import ours, records
from .engine import Engine, Setup
from .options import LookupOptions
from .tables import SharedTables


@dataclass(slots=True)
class Bench:
    """A benchmark while it runs.

    Attributes:
        engines: those that gave the right output.
        missing: the others, with the reason.
    """

    options: LookupOptions
    shape: Shape
    workload: Workload
    tables: SharedTables
    setup: Setup
    platform: Platform
    engines: dict[str, Engine] = field(default_factory=dict)
    missing: list[records.Missing] = field(default_factory=list)
    bound: ours.Bound | None = None
