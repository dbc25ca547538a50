"""What a benchmark run leaves behind: one JSON object, one line in a results file."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from recsmith.spec import Record

OURS = "recsmith"


def is_ours(engine: str) -> bool:
    """Whether it is recsmith, or recsmith called another way ("recsmith[out=]")."""
    return engine.partition("[")[0] == OURS


class Run(Record, frozen=True):
    """When, where and with what.

    Attributes:
        commit: see `commit`.
        machine: `Platform.machine`.
        threads: that each engine may use.
        placement: where threads sat.
        allocator: how freed outputs are reused.
    """

    commit: str
    date: str
    machine: str
    threads: int
    placement: str = ""
    allocator: str = ""


class LookupCase(Record, frozen=True):
    """What was looked up.

    Attributes:
        row_cap: rows that larger tables were cut to; 0 when none was.
        huge_share: the part of the tables that really lay on huge pages.
        rows_per_call: look-ups in one batch, on average.
        fuse: `dot` or `cat` when the interaction was timed too.
        bytes_moved: row bytes, ids and output of one batch.
    """

    batch: int
    ids: str
    lengths: str
    dims: tuple[int, ...]
    dtype: str
    pages: str
    fuse: str
    planner: str
    row_cap: int
    table_bytes: int
    huge_share: float
    rows_per_call: float
    bytes_moved: float


def with_interaction(case: LookupCase) -> str:
    """What is timed with the look-up, to stand behind a workload's name."""
    return "" if case.fuse == "none" else f" with {case.fuse} interaction"


class CacheState(Record, frozen=True):
    """How cold ids and rows were.

    Attributes:
        state: `cold`: every timed call had ids that no call had touched since they left the caches.
        pool_bytes: of ids that calls drew their batches from.
        batches_used: by all engines together, warm-up calls included; beyond `pool_batches` they repeat.
    """

    state: Literal["cold", "warm"]
    last_level_bytes: int
    pool_batches: int
    pool_bytes: int
    batches_used: int


class EngineCase(Record, frozen=True):
    """One engine's measured time for one batch.

    Attributes:
        engine: ours are `recsmith` and `recsmith[...]`.
        runs: samples; each is the mean of `calls` consecutive calls.
        disturbed: samples during which other processes took processor time, however often they were repeated.
        op_based: whether it goes through a framework's operators.
    """

    engine: str
    version: str
    settings: str
    median_s: float
    q1_s: float
    q3_s: float
    rows_per_s: float
    runs: int
    calls: int
    disturbed: int
    op_based: bool


class Missing(Record, frozen=True):
    """An engine that could not take part."""

    engine: str
    reason: str


class Bound(Record, frozen=True):
    """What the machine allows, measured in the same run.

    Attributes:
        read_s: the same rows read through precomputed pointers with the best prefetch, nothing written.
        write_s: the output written once, at the measured rate.
        arithmetic_s: the products of a `dot` interaction at the measured peak of multiply-adds.
    """

    read_s: float
    write_s: float
    prefetch: str
    arithmetic_s: float = 0.0

    @property
    def seconds(self) -> float:
        """The least time a batch can take, were everything done at once."""
        return max(self.read_s, self.write_s, self.arithmetic_s)


class PlanSummary(Record, frozen=True):
    """What our engine was told to do.

    Attributes:
        placements: strategy to how many placements use it in the bucket of this batch.
        predicted_source: where the prediction's coefficients came from.
        platform_source: `probed` (default speeds) or `measured`.
    """

    planner: str
    plan_digest: str
    isa: str
    cores: tuple[str, ...]
    placements: dict[str, int]
    notes: tuple[str, ...]
    predicted_source: str
    platform_source: str


class LookupRecord(Record, frozen=True):
    """The result of `recsmith bench lookup`.

    Attributes:
        ratio_to_best_peer: best rival's median over ours (engine `recsmith`); above 1 we are faster.
        best_op_peer: the best among rivals made of a framework's operators.
        ratio_to_default: eager `nn.EmbeddingBag` ("torch") over ours: what [ASYM] calls the default.
        ratio_to_symmetric: our own symmetric plan over ours; 1 when it is the same plan.
        bound_s: the largest part of `bound`.
        share_of_bound: bound_s over our median.
        predicted_s: what the cost model expected of our plan; None without one.
    """

    workload: str
    run: Run
    case: LookupCase
    cache: CacheState
    cases: tuple[EngineCase, ...]
    best_peer: str | None
    ratio_to_best_peer: float | None
    best_op_peer: str | None
    ratio_to_best_op_peer: float | None
    bound_s: float | None
    share_of_bound: float | None
    predicted_s: float | None
    missing: tuple[Missing, ...]
    bound: Bound | None = None
    plan: PlanSummary | None = None
    ratio_to_default: float | None = None
    ratio_to_symmetric: float | None = None
    kind: Literal["lookup"] = "lookup"
    version: int = 1


def append(path: str | Path, record: Record) -> Path:
    """Add `record` to a results file as one line of JSON; the folder is made."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    line = msgspec.json.format(record.to_json().encode(), indent=0).replace(b"\n", b"")
    with target.open("ab") as stream:
        stream.write(line + b"\n")
    return target


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def commit() -> str:
    """The checkout's commit, with a plus when files other than results differ from it; where there is no checkout the
    package's version and what its sources come to, which `sources` of a checkout finds again.
    """
    from recsmith import __version__

    here = Path(__file__).parent
    head = _git(here, "rev-parse", "--short=12", "HEAD")
    if not head or not _git(here, "ls-files", "--", str(Path(__file__))):
        return f"v{__version__} sources {sources(here.parent)}"
    others = (":(top)", ":(top,exclude)benchmarks/results")
    return head + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no", "--", *others) else "")


def sources(package: Path) -> str:
    """Twelve hexadecimal digits that the Python files of the package come to, names and contents."""
    found = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        found.update(f"{file.relative_to(package).as_posix()} {len(content := file.read_bytes())}\n".encode())
        found.update(content)
    return found.hexdigest()[:12]


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
