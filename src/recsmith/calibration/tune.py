"""Kernel parameters for each level, row size and batch, by trying them all; can be interrupted and continued."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path

from msgspec.structs import replace

from recsmith.spec import Curve, FormatError, Memory, Platform, Progress, Record, Tuning, UnavailableError
from recsmith.spec.platform import Page, PrefetchLevel, RowAccess

from .curves import stored_as
from .here import RAM_BYTES, check_here, make_bench
from .levels import Level, crews, levels, like, pages
from .probes import BAG, Bench
from .trial import Clock, Sample

BUDGET_S = 600.0
BATCHES = (128, 2048, 16)
ROW_BYTES = (64, 128, 256, 512, 32, 1024)
_DISTANCES = (4, 8, 12, 16, 24, 32, 48, 64)
_HINTS: tuple[PrefetchLevel, ...] = ("t0", "t1", "nta")
_FIRST_ROUNDS, _FINALISTS = 3, 4
_TURNS, _TURN_ROUNDS = 3, 5
# Tunings this close are equal; then the one that asks for less is better.
_SAME = 1.02


class Job(Record, frozen=True):
    """One thing to tune."""

    memory: str
    access: RowAccess
    row_bytes: int
    batch: int
    active_cores: int
    page: Page


class Found(Record, frozen=True):
    """The best tuning of a job.

    Attributes:
        seconds, iqr_s: per row with it.
        default_s: per row with the tuning that the profile had.
    """

    job: Job
    tuning: Tuning
    seconds: float
    iqr_s: float
    default_s: float


class Ledger(Record, frozen=True):
    """What was found so far, as kept in the resume file."""

    machine: str
    found: tuple[Found, ...] = ()
    version: int = 1


def tune(
    profile: Platform,
    *,
    budget_s: float = BUDGET_S,
    resume_file: str | Path | None = None,
    row_bytes: Sequence[int] = ROW_BYTES,
    batches: Sequence[int] = BATCHES,
    ram_bytes: int = RAM_BYTES,
    progress: Progress | None = None,
) -> Platform:
    """`profile` with `Memory.tuned` filled in, and the tunings of its gathers and copies replaced by the best.

    What is found goes to `resume_file` at once; called again with the same file it continues where it stopped,
    be that for lack of time or because it was killed. A note says how much is done.

    Raises:
        UnavailableError: the profile is another machine's, or was not measured.
        FormatError: the resume file is something else, or another machine's.
    """
    check_here(profile)
    if profile.source != "measured":
        raise UnavailableError("tune", f"'{profile.name}' was never measured", "Run recsmith measure first.")
    report = progress or (lambda step, done, total: None)
    clock = Clock(budget_s)
    ledger = _open(profile, resume_file)
    jobs = plan_jobs(profile, row_bytes, batches)
    todo = [job for job in jobs if job not in {found.job for found in ledger.found}]
    out_bytes = max(batches) * max(4 * stored_as(size)[1] for size in row_bytes)
    bench = make_bench(profile, ram_bytes, clock, pages(profile)[:1], out_bytes) if todo else None
    for done, job in enumerate(todo, start=len(jobs) - len(todo)):
        report("tune", done, len(jobs))
        if bench is None or clock.spent_s > budget_s:
            break
        ledger = replace(ledger, found=(*ledger.found, _tune(profile, bench, job)))
        if resume_file is not None:
            ledger.save(resume_file)
    report("tune", len(ledger.found), len(jobs))
    return with_tunings(profile, ledger.found, len(jobs))


def plan_jobs(profile: Platform, row_bytes: Iterable[int], batches: Iterable[int]) -> tuple[Job, ...]:
    """All jobs, those that matter most first: main memory before caches, the first sizes and batches before others."""
    accesses: tuple[RowAccess, ...] = ("copy", "gather")
    jobs = []
    outer_first = reversed(levels(profile, RAM_BYTES))
    for level, batch, size, access in product(outer_first, tuple(batches), tuple(row_bytes), accesses):
        sets = crews(profile, level.memory)
        jobs += [
            Job(level.memory.id, access, size, batch, cores, level.pages[0])
            for cores in dict.fromkeys((len(sets[0]), len(sets[-1])))
        ]
    return tuple(jobs)


def candidates(level: Level) -> tuple[Tuning, ...]:
    """Every distance with every hint; near memories get none or short ones to the first level only."""
    if level.private:
        return (Tuning(), *(Tuning(distance, "t0") for distance in _DISTANCES[:4]))
    found = tuple(Tuning(distance, hint) for hint, distance in product(_HINTS, _DISTANCES))
    return (Tuning(), *found)


def choose(tried: Sequence[tuple[Tuning, Sample]]) -> tuple[Tuning, Sample]:
    """The fastest; among those as good as equal the one with the shortest distance."""
    fastest = min(sample.median_s for _, sample in tried)
    equal = [pair for pair in tried if pair[1].median_s <= _SAME * fastest]
    return min(equal, key=lambda pair: (pair[0].prefetch_distance, pair[1].median_s))


def with_tunings(profile: Platform, found: Sequence[Found], jobs: int) -> Platform:
    """The profile with what was found; of several batches, the largest one's tuning goes to the curves."""
    memories = []
    for memory in profile.memories:
        stand_in = next((m for m in {f.job.memory for f in found} if memory.id in like(profile, profile.memory(m))), "")
        memories.append(_with_tunings(memory, [f for f in found if f.job.memory == stand_in]))
    gains = [f.default_s / f.seconds for f in found if f.seconds > 0]
    note = f"Tuned: {len(found)} of {jobs} cases."
    if gains:
        note += f" Up to {max(gains):.2f}x over the profile's own tuning."
    kept = tuple(n for n in profile.notes if not n.startswith("Tuned:"))
    return replace(profile, memories=tuple(memories), notes=(*kept, note))


def _with_tunings(memory: Memory, found: Sequence[Found]) -> Memory:
    if not found:
        return memory
    tuned = tuple(
        Curve(f.job.access, f.job.row_bytes, f.job.active_cores, f.job.page, f.seconds, f.iqr_s, f.tuning,
              batch=f.job.batch)
        for f in found
    )  # fmt: skip
    best = {(c.access, c.row_bytes, c.active_cores, c.page): c.tuning for c in sorted(tuned, key=lambda c: c.batch)}
    curves = tuple(
        replace(c, tuning=best.get((c.access, c.row_bytes, c.active_cores, c.page), c.tuning)) for c in memory.curves
    )
    return replace(memory, curves=curves, tuned=tuned)


def _tune(profile: Platform, bench: Bench, job: Job) -> Found:
    level = next(x for x in levels(profile, bench.ground.nbytes) if x.memory.id == job.memory)
    crew = next(c for c in crews(profile, level.memory) if len(c) == job.active_cores)
    spot = level.spot(crew, job.page)
    pooling = 1 if job.access == "copy" else BAG

    dtype, dim = stored_as(job.row_bytes)

    def probe(tuning: Tuning, rounds: int) -> Sample:
        return bench.look_ups(
            spot,
            dim,
            dtype,
            tuning,
            rounds,
            pooling=pooling,
            batch=max(1, job.batch // job.active_cores),
        )

    first = [(tuning, probe(tuning, _FIRST_ROUNDS)) for tuning in candidates(level)]
    first.sort(key=lambda pair: pair[1].median_s)
    before = level.memory.tuning(job.access, job.row_bytes, job.batch, job.active_cores, job.page) or Tuning()
    finalists = tuple(dict.fromkeys((*(tuning for tuning, _ in first[:_FINALISTS]), before)))
    timed = interleaved(finalists, probe)
    tuning, sample = choose(list(timed.items()))
    return Found(job, tuning, sample.median_s, sample.iqr_s, timed[before].median_s)


def interleaved(finalists: Sequence[Tuning], probe: Callable[[Tuning, int], Sample]) -> dict[Tuning, Sample]:
    """Each finalist timed in several turns with the others between, so that a slow minute hits all of them."""
    turns: dict[Tuning, list[Sample]] = {tuning: [] for tuning in finalists}
    for _ in range(_TURNS):
        for tuning, samples in turns.items():
            samples.append(probe(tuning, _TURN_ROUNDS))
    return {tuning: _middle(samples) for tuning, samples in turns.items()}


def _middle(samples: Sequence[Sample]) -> Sample:
    return sorted(samples, key=lambda sample: sample.median_s)[len(samples) // 2]


def _open(profile: Platform, resume_file: str | Path | None) -> Ledger:
    if resume_file is None or not Path(resume_file).exists():
        return Ledger(profile.machine)
    ledger = Ledger.open(resume_file)
    if ledger.machine != profile.machine:
        raise FormatError(
            "tune",
            f"'{resume_file}' belongs to '{ledger.machine}', this is '{profile.machine}'",
            "Name another resume file, or delete this one.",
        )
    return ledger
