"""`recsmith bench lookup`: every engine on the same weights, ids and pages, timed in turns in one process."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import msgspec

from recsmith.data import distributions, shapes, synthetic
from recsmith.platforms import load
from recsmith.spec import Jagged, Platform, Progress, RecsmithError

from . import dlrm, expected, ours, ours_joined, process, records, rival, rounds
from .bound import PointerList
from .engine import Engine, Joint, Setup
from .options import LookupOptions
from .peers import PEERS
from .records import OURS
from .result import summarise
from .session import Bench
from .tables import SharedTables

_TRIAL_BATCHES = 96
_SINGLE_SAMPLES = 65_536
_CHECKED = 2
_BOUND = "bound"
# Of the last-level cache: ids drawn from a pool this many times as large are no longer in it when they come again.
_POOL_FACTOR = 4


def run_lookup_bench(options: LookupOptions, progress: Progress | None = None) -> records.LookupRecord:
    """Measure one case.

    Tunes the process's allocator (`process.keep_freed_memory`) and, while it measures, pins its threads.

    Args:
        progress: told how far each step is.

    Raises:
        RecsmithError: the case itself is impossible, or our own engine fails. Rivals that fail are listed in
            `missing` with the reason.
    """
    allocator = process.keep_freed_memory()
    bench = begin(options, progress)
    with ExitStack() as stack:
        trial = drawn(bench, _TRIAL_BATCHES, options.seed + 1)
        _admit_ours(bench, trial, stack)
        _admit_peers(bench, trial, stack, progress)
        pins = stack.enter_context(process.Pins(options.threads))
        pool, samplers = samplers_of(bench, trial, progress)
        pointers = PointerList(bench.setup, trial)
        both: dict[str, Callable[[], float]] = {**samplers, _BOUND: pointers.sampler(pool, samplers[OURS].calls)}
        seconds = rounds.interleaved(both, options.rounds, progress, pins.apply)
        bound = pointers.bound(seconds.pop(_BOUND))
    run = records.Run(records.commit(), records.now(), bench.platform.machine, options.threads, str(pins), allocator)
    return summarise(bench, run, pool, samplers, seconds, bound, last_level_bytes(bench.platform))


def begin(options: LookupOptions, progress: Progress | None) -> Bench:
    """Tables, weights and workload of a case, before any engine; what is cheap to refuse is looked at first."""
    rival.known(PEERS.names(), options.against, "peer")
    platform = load(options.platform or "cpu")
    shape = shapes.shape(options.workload, options.dim, options.max_bytes, options.dtype)
    if options.fuse != "none":
        shape = msgspec.structs.replace(shape, model=dlrm.dlrm(shape, options.fuse))
    laws = distributions.parse(options.ids, [feature.name for feature in shape.model.features])
    tables = SharedTables(shape.model, options.pages, options.seed, progress)
    whole = all(factor == int(factor) for factor in shape.pooling_factors)
    fixed = options.lengths == "exact" and whole and not options.ids.startswith("trace")
    setup = Setup(
        model=shape.model,
        buffer=tables.buffer,
        tables=tables.tables,
        batch=options.batch,
        bag_lengths=tuple(int(factor) for factor in shape.pooling_factors) if fixed else None,
        threads=options.threads,
        pages=options.pages,
        joint=None if options.fuse == "none" else dlrm.joint(shape.model, options.batch, options.seed),
    )
    workload = shape.workload(options.batch, laws, options.ids)
    return Bench(options, shape, workload, tables, setup, platform)


def drawn(bench: Bench, count: int, seed: int, progress: Progress | None = None) -> list[Jagged]:
    """`count` batches of the case's workload."""
    return synthetic.batches(
        bench.shape.model, bench.workload, count, seed, lengths=bench.options.lengths, progress=progress
    )


def _admit_ours(bench: Bench, trial: list[Jagged], stack: ExitStack) -> None:
    bench.bound = ours.bind(bench.setup, bench.workload, bench.options)
    stack.callback(bench.bound.executable.close)
    engines: list[Engine]
    if bench.setup.joint is None:
        engines = [make(bench.setup, bench.bound.executable) for make in ours.ENGINES]
        apart = _symmetric(bench, stack)
        if apart.plan.bucket(bench.options.batch).stages != bench.bound.plan.bucket(bench.options.batch).stages:
            engines.append(ours.OursSymmetric(bench.setup, apart.executable))
    else:
        engines = ours_joined.engines(bench.setup, bench.bound, _symmetric(bench, stack))
    for engine in engines:
        reason = _admit(bench, engine, trial)
        if reason:
            raise RecsmithError("bench", f"{engine.name} {reason}", "This is a fault in recsmith: please report it.")


def _symmetric(bench: Bench, stack: ExitStack) -> ours.Bound:
    """Our own baseline: the symmetric plan, with all strategies."""
    options = msgspec.structs.replace(bench.options, planner="symmetric", strategies=())
    apart = ours.bind(bench.setup, bench.workload, options)
    stack.callback(apart.executable.close)
    return apart


def _admit_peers(bench: Bench, trial: list[Jagged], stack: ExitStack, progress: Progress | None) -> None:
    for at, peer in enumerate(bench.options.against):
        for make in _makers(bench, peer):
            name = getattr(make, "name", peer)
            try:
                engine = make(bench.setup)
                stack.callback(engine.close)
                reason = _admit(bench, engine, trial)
            except Exception as error:  # a rival's failure, of whatever kind, is a result and not the end
                reason = rival.reason(error)
            if reason:
                bench.missing.append(records.Missing(name, reason))
        if progress:
            progress("starting rivals", at + 1, len(bench.options.against))


def _makers(bench: Bench, peer: str) -> Sequence[Callable[[Setup], Engine]]:
    found, why = rival.makers(PEERS, peer)
    if why:
        bench.missing.append(records.Missing(peer, why))
    if not found or bench.setup.joint is None:
        return found
    try:
        return _with_interaction(peer, found, bench.setup.joint)
    except Exception as error:  # what computes the interaction is a rival's too
        bench.missing.append(records.Missing(peer, rival.reason(error)))
        return ()


def _with_interaction(
    peer: str, makers: Sequence[Callable[[Setup], Engine]], joint: Joint
) -> list[Callable[[Setup], Engine]]:
    """The rivals with the interaction behind them, in all forms that compute what is asked for."""
    from .peers import compile_joined, interaction

    forms = {"bmm", "products", "compiled"} if joint.interaction.kind == "dot" else {"cat"}
    found = interaction.behind(makers)
    if peer == "compile":
        found += compile_joined.ENGINES
    return [make for make in found if make.form in forms]  # type: ignore[attr-defined]


def _admit(bench: Bench, engine: Engine, trial: list[Jagged]) -> str:
    """Add the engine, or say what is wrong with its output."""
    for ids in trial[:_CHECKED]:
        wanted_BW = expected.output(bench.shape.model, bench.tables.tables, ids, bench.setup.joint)
        with rounds.active(engine):
            got_BW = engine.output(engine.call(engine.prepare(ids)))
        problem = expected.disagreement(got_BW, wanted_BW)
        if problem:
            return problem
    bench.engines[engine.name] = engine
    return ""


def samplers_of(
    bench: Bench, trial: list[Jagged], progress: Progress | None
) -> tuple[rounds.Pool, dict[str, rounds.Sampler]]:
    """What times each engine of the bench, and the batches that they take in turns.

    Args:
        trial: batches to find out with how long a call takes.
    """
    pool = rounds.Pool(trial)
    calls = {
        name: rounds.calls_per_sample(engine, pool, bench.options.sample_s) for name, engine in bench.engines.items()
    }
    pool = rounds.Pool(_pool_for(bench, calls, progress))
    return pool, {name: rounds.Sampler(engine, pool, calls[name]) for name, engine in bench.engines.items()}


def _pool_for(bench: Bench, calls: dict[str, int], progress: Progress | None) -> list[Jagged]:
    """Enough batches that none repeats, or that they have left the caches when they do."""
    needed = rounds.batches_needed({**calls, _BOUND: calls[OURS]}, bench.options.rounds)
    if bench.options.batch == 1:
        return drawn(bench, _SINGLE_SAMPLES, bench.options.seed, progress)
    per_batch = 8 * bench.options.batch * bench.shape.lookups_per_sample
    large = math.ceil(_POOL_FACTOR * last_level_bytes(bench.platform) / per_batch)
    return drawn(bench, max(2, min(needed, large)), bench.options.seed, progress)


def last_level_bytes(platform: Platform) -> int:
    """Bytes of the largest cache, as the machine reports it."""
    return max((memory.capacity_bytes for memory in platform.memories if memory.kind == "cache"), default=32 << 20)
