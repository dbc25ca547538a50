"""What a report shows, free of any drawing. Predictions and measurements stay in fields of their own."""

from __future__ import annotations

from typing import Literal

from recsmith.spec import Estimate, Measurement, Record

Source = Literal["modelled", "fitted", "measured"]


class TableLine(Record, frozen=True):
    """One table and how its look-ups are served in the bucket of `Content.batch`.

    Attributes:
        format: dtype of the stored rows.
        cores: the cores that serve it.
        owned: one core serves it for all samples; otherwise several share the samples or rows.
        predicted: the sum over its cores; None when the plan carries no prediction for it.
        measured: the same, seen; None when it was not measured.
        why: what the planner says of it.
    """

    name: str
    rows: int
    dim: int
    nbytes: int
    format: str
    strategies: tuple[str, ...]
    cores: tuple[str, ...]
    owned: bool
    predicted: Estimate | None = None
    measured: Measurement | None = None
    why: str = ""


INTERACTION = "interaction"


class Segment(Record, frozen=True):
    """The part of a core's busy time that one table takes, or what is no table's: adding up, the interaction."""

    core: str
    table: str
    strategy: str
    seconds: float
    owned: bool


class CoreLine(Record, frozen=True):
    """A core's busy time for one batch.

    Attributes:
        predicted: when all cores work at the same time.
        segments: what it consists of, in the order in which the plan lists it.
        alone: the same work without the other cores, the call included; this is what was measured.
    """

    core: str
    predicted: Estimate
    segments: tuple[Segment, ...] = ()
    alone: Estimate | None = None
    measured: Measurement | None = None


class Timing(Record, frozen=True):
    """One engine under one case."""

    engine: str
    seen: Measurement
    version: str = ""
    settings: str = ""
    rows_per_s: float = 0.0


class Case(Record, frozen=True):
    """Engines compared under the same ids.

    Attributes:
        bound_s: no engine can be faster than this on the machine, measured in the same run; 0 when not measured.
        predicted: what the cost model expected of recsmith.
        missing: rivals that did not run, with the reason.
    """

    title: str
    batch: int
    threads: int
    timings: tuple[Timing, ...]
    bound_s: float = 0.0
    predicted: Estimate | None = None
    missing: tuple[str, ...] = ()


class Check(Record, frozen=True):
    """A prediction made before a run, and what the run took."""

    title: str
    predicted: Estimate
    measured: Measurement


class Content(Record, frozen=True):
    """Everything on the page.

    Attributes:
        batch: the batch size that tables and cores are shown for.
        cases: look-ups against the rivals.
        checks: more predictions beside their measurements.
        latency: whole predictions by engine and batch size, as cases too.
        facts: name and value pairs for the foot of the page: versions, command, date.
    """

    title: str
    machine: str
    machine_source: str
    planner: str
    batch: int
    tables: tuple[TableLine, ...]
    cores: tuple[CoreLine, ...]
    lower_bound_s: float = 0.0
    cases: tuple[Case, ...] = ()
    latency: tuple[Case, ...] = ()
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
