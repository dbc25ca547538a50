"""A platform with the speeds of this machine, measured in under a minute."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from msgspec.structs import replace

from recsmith.cost.machine import ONLY_IN_COMPANY
from recsmith.spec import Core, Curve, Overheads, Platform, Progress

from .capacity import Step, sweep, usable_bytes
from .computing import Computes, arithmetic
from .curves import ROW_BYTES, RowAccess, encoded_curves, flat_curves, row_curves
from .factors import fit, median_error
from .here import RAM_BYTES, check_here, make_bench
from .levels import chain, crews, is_private, levels, like
from .overheads import Bind, executor_overheads, native_overheads
from .probes import Bench, Spot
from .trial import Clock
from .whole import trials
from .widening import widenings

BUDGET_S = 60.0
_NOT_SPREAD = "Little memory is free: what rows of larger models cost more for being spread far was not measured."
_SWEEPS = 3
"""Times that all curves are measured, the least of which counts: what other guests of the machine take from it in one
second, for that second's curves, only ever adds."""
_FLOP_STEPS, _FLOP_TRIES = 200_000, 15


def measure(
    platform: Platform,
    *,
    budget_s: float = BUDGET_S,
    bind: Bind | None = None,
    computes: Computes | None = None,
    row_bytes: Sequence[int] = ROW_BYTES,
    ram_bytes: int = RAM_BYTES,
    command: str = "recsmith measure",
    progress: Progress | None = None,
) -> Platform:
    """`platform` with measured curves, usable cache sizes and overheads; `calibration` says which curves.

    Args:
        platform: this machine, probed.
        budget_s: how long it should take; when it takes longer, fewer rounds are timed.
        bind: makes executables, to time their fixed costs (`recsmith.executor.compile`); without it call and task
            costs stay modelled, and a note says so.
        computes: what computes rows and MLPs (`recsmith.executor.timing`); without it computing stays unmeasured.
        ram_bytes: main memory to measure on, for each page size; less when little is free.
        command: what to write down as the command that measured it.
        progress: told how many of the steps are done.

    Raises:
        UnavailableError: the platform is not this machine, or no native module is built.
        CapacityError: too little memory is free.
    """
    check_here(platform)
    clock = Clock(budget_s)
    report = progress or (lambda step, done, total: None)
    bench = make_bench(platform, ram_bytes, clock)
    report("caches", 0, 1)
    sized, steps = _with_usable_caches(platform, bench)
    report("caches", 1, 1)
    sweeps = [_measure_levels(sized, bench, tuple(row_bytes), report, sweep) for sweep in range(_SWEEPS)]
    curves = {memory: least(*(found[memory] for found in sweeps)) for memory in sweeps[0]}
    points = sum(len(curves[level.memory.id]) for level in levels(sized, bench.ground.nbytes))
    report("spread rows", 0, 1)
    outermost = levels(sized, bench.ground.nbytes)[-1]
    widened = widenings(sized, bench, outermost, curves[outermost.memory.id])
    report("spread rows", 1, 1)
    report("overheads", 0, 1)
    overheads = _overheads(sized, bind)
    report("overheads", 1, 1)
    alone = replace(
        sized,
        cores=tuple(_with_flops(core, bench.target) for core in sized.cores),
        memories=tuple(
            replace(m, curves=curves[m.id], widenings=widened if m.kind == "ram" else ()) for m in sized.memories
        ),
        overheads=overheads,
        source="measured",
        command=command,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        notes=(
            *_kept_notes(platform),
            *_notes(sized, bench, steps, points, bound=bind is not None),
            *(() if widened else (_NOT_SPREAD,)),
        ),
        factors={},
        arithmetic=() if computes is None else arithmetic(_crews(len(platform.cores)), *computes, report),
    )
    return alone if bind is None else _with_factors(alone, bench, bind, report)


def _crews(cores: int) -> tuple[int, ...]:
    """One core, two, four, and all of them."""
    return tuple(sorted({min(1 << at, cores) for at in range(cores.bit_length() + 1)}))


def _with_factors(platform: Platform, bench: Bench, bind: Bind, report: Progress) -> Platform:
    """The platform with factors that make its curves add up to whole look-ups."""
    found = trials(platform, bench, bind, report)
    factors = fit(found)
    none = dict.fromkeys(ONLY_IN_COMPANY, 0.0)
    note = (
        f"Factors fitted to {len(found)} look-ups of made-up models: median error {median_error(found, factors):.0%}, "
        f"{median_error(found, none):.0%} without them."
    )
    return replace(platform, factors=factors, notes=(*platform.notes, note))


def _with_usable_caches(platform: Platform, bench: Bench) -> tuple[Platform, tuple[Step, ...]]:
    """The platform with what shared caches really hold for us, and the latencies that say so."""
    memories = chain(platform)
    shared = [m for m in memories if m.kind == "cache" and not is_private(platform, m)]
    page = next(iter(bench.ground.buffers))
    spot = Spot((platform.cores[0].index,), 0, page, private=True, row_s=20e-9)
    steps = sweep(bench, spot, memories[0].capacity_bytes // 2, bench.ground.nbytes)
    found: dict[str, int] = {}
    for cache in shared:
        inner = memories[memories.index(cache) - 1]
        size = usable_bytes(steps, found.get(inner.id, inner.capacity_bytes), cache.capacity_bytes)
        found.update(dict.fromkeys(like(platform, cache), size))
    sized = tuple(replace(m, capacity_bytes=found.get(m.id, m.capacity_bytes)) for m in platform.memories)
    return replace(platform, memories=sized), steps


def least(*sweeps: Sequence[Curve]) -> tuple[Curve, ...]:
    """Of every curve the sweep in which it took the least time; they come in one order."""
    return tuple(min(curves, key=lambda curve: curve.seconds) for curves in zip(*sweeps, strict=True))


def _measure_levels(
    platform: Platform, bench: Bench, row_bytes: tuple[int, ...], report: Progress, sweep: int
) -> dict[str, tuple[Curve, ...]]:
    """Curves of every memory, by id."""
    found: dict[str, tuple[Curve, ...]] = {}
    inner: tuple[Curve, ...] = ()
    all_levels = levels(platform, bench.ground.nbytes)
    each = sum(len(crews(platform, level.memory)) for level in all_levels) * (len(row_bytes) + 1)
    todo, done = _SWEEPS * each, sweep * each
    for level in all_levels:
        curves: list[Curve] = []
        for crew in crews(platform, level.memory):
            for nbytes in row_bytes:
                report("memories", done, todo)
                bench.clock.done = done / todo
                curves += row_curves(bench, level, crew, nbytes, _Inner(inner, nbytes, len(crew)))
                done += 1
            if level.depth == 1:
                curves += encoded_curves(bench, level, crew)
            curves += flat_curves(bench, level, crew, _Inner(inner, 0, len(crew)).seconds("latency"))
            done += 1
        inner = tuple(curves)
        found.update(dict.fromkeys(like(platform, level.memory), inner))
    report("memories", done, todo)
    return found


class _Inner:
    """The speeds of the next inner level, for as many cores as it was measured with."""

    def __init__(self, curves: tuple[Curve, ...], row_bytes: int, cores: int) -> None:
        self._curves = [curve for curve in curves if curve.row_bytes == row_bytes and curve.active_cores <= cores]

    def seconds(self, access: str) -> float:
        fitting = [curve for curve in self._curves if curve.access == access]
        return max(fitting, key=lambda curve: curve.active_cores).seconds if fitting else 0.0

    def __call__(self, access: RowAccess) -> float:
        return self.seconds(access)


def _overheads(platform: Platform, bind: Bind | None) -> Overheads:
    native = native_overheads(platform, platform.overheads)
    return native if bind is None else executor_overheads(platform, bind, native)


def _with_flops(core: Core, target: str) -> Core:
    from recsmith import _native

    # A peak: whatever else runs can only lower it.
    tries = [_native.flops_per_s([core.index], _FLOP_STEPS, target) for _ in range(_FLOP_TRIES)]
    return replace(core, flops_per_s=max(tries))


def _notes(platform: Platform, bench: Bench, steps: Sequence[Step], points: int, *, bound: bool) -> tuple[str, ...]:
    clock = bench.clock
    notes = [f"{points} points on '{bench.target}' in {clock.spent_s:.0f} s; medians of undisturbed rounds."]
    notes += [
        f"{memory.id}: {memory.capacity_bytes >> 20} MB of the {memory.reported_bytes >> 20} MB reported are ours, "
        "by random loads over growing footprints."
        for memory in chain(platform)
        if memory.kind == "cache" and memory.capacity_bytes < memory.reported_bytes
    ]
    notes.append("Latency by footprint: " + ", ".join(f"{_size(s)} {s.seconds * 1e9:.0f} ns" for s in steps[::2]))
    if len(platform.memories) > len(chain(platform)):
        notes.append("Memories of other cores are taken to be like the first core's.")
    if clock.disturbed:
        notes.append(f"{clock.disturbed} of {clock.trials} trials were disturbed throughout: other work was running.")
    if not bound:
        notes.append("Overheads of a call and of a task are modelled: no executor was given.")
    return tuple(notes)


def _size(step: Step) -> str:
    nbytes = step.footprint_bytes
    return f"{nbytes >> 20} MB" if nbytes >= 1 << 20 else f"{nbytes >> 10} kB"


def _kept_notes(platform: Platform) -> tuple[str, ...]:
    return tuple(
        note
        for note in platform.notes
        if "modelled" not in note and "points on" not in note and not note.startswith("Factors fitted")
    )
