"""Does speed depend on how ids are distributed? One plan made for the worst law, against plans made for each ([ASYM]).

Every law is asked of every engine in the same run: our plan for the worst of all laws, our plan for that law alone, and
the rivals. `slowest_over_fastest` says how far an engine's speed depends on the law.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from recsmith.data import distributions, shapes
from recsmith.platforms import load, restrict
from recsmith.spec import Jagged, Objective, Plan, Platform, Progress, Record, RecsmithError, Weights, Workload
from recsmith.spec.platform import Page

from . import expected, ours, process, records, rival, rounds
from .engine import Engine, Setup
from .peers import PEERS
from .result import engine_case
from .tables import SharedTables
from .turns import in_turns, trial_batches

LAWS = ("uniform", "zipf:0.8", "zipf:1.05", "zipf:1.2", "fixed")
WORST, OWN = "recsmith[worst-case plan]", "recsmith[plan for the law]"


class IndependenceOptions(Record, frozen=True):
    """One workload under several laws.

    Attributes:
        platform: file of a measured platform; None probes this machine.
        against: names of `bench.peers.PEERS`.
    """

    workload: str
    batch: int
    dim: int | None = None
    ids: tuple[str, ...] = LAWS
    threads: int = 1
    pages: Page = "huge"
    platform: str | None = None
    max_bytes: int | None = None
    against: tuple[str, ...] = ("torch", "compile", "fbgemm")
    rounds: int = 15
    sample_s: float = 10e-3
    seed: int = 0


class LawCase(Record, frozen=True):
    """One law.

    Attributes:
        cases: every engine's time.
        worst_over_own: the worst-case plan's time over that of the plan made for this law.
        busiest_over_mean: predicted busy time of the busiest core over the mean core's, under the worst-case plan.
    """

    ids: str
    cases: tuple[records.EngineCase, ...]
    worst_over_own: float
    busiest_over_mean: float


class IndependenceRecord(Record, frozen=True):
    """The result.

    Attributes:
        slowest_over_fastest: engine to the ratio of its times over all laws.
    """

    run: records.Run
    workload: str
    dim: int
    batch: int
    laws: tuple[LawCase, ...]
    slowest_over_fastest: dict[str, float]
    missing: tuple[records.Missing, ...]
    kind: Literal["independence"] = "independence"
    version: int = 1


def run_independence_bench(options: IndependenceOptions, progress: Progress | None = None) -> IndependenceRecord:
    """Measure one workload under every law.

    Raises:
        RecsmithError: the case is impossible, or our own engine fails; rivals that fail are in `missing`.
    """
    rival.known(PEERS.names(), options.against, "peer")
    allocator = process.keep_freed_memory()
    shape = shapes.shape(options.workload, options.dim, options.max_bytes)
    machine = restrict(load(options.platform or "cpu"), options.threads)
    tables = SharedTables(shape.model, options.pages, options.seed, progress)
    features = [feature.name for feature in shape.model.features]
    workloads = {law: shape.workload(options.batch, distributions.parse(law, features), law) for law in options.ids}
    every = Objective(tuple(workloads.values()), aim="worst")
    worst = ours.settled(shape.model, machine, every, Weights(tables.tables))
    missing: dict[str, str] = {}
    laws, placement = [], ""
    for done, (law, workload) in enumerate(workloads.items()):
        if progress:
            progress("laws", done, len(workloads))
        cases, placement = _measured(options, shape, tables, workload, machine, worst, missing)
        laws.append(_law(law, cases, workload, worst))
    if progress:
        progress("laws", len(workloads), len(workloads))
    run = records.Run(records.commit(), records.now(), machine.machine, options.threads, placement, allocator)
    return IndependenceRecord(
        run=run,
        workload=shape.file.name,
        dim=max(table.dim for table in shape.model.tables),
        batch=options.batch,
        laws=tuple(laws),
        slowest_over_fastest=_spread(laws),
        missing=tuple(records.Missing(name, reason) for name, reason in missing.items()),
    )


def _measured(
    options: IndependenceOptions,
    shape: shapes.Shape,
    tables: SharedTables,
    workload: Workload,
    machine: Platform,
    worst: Plan,
    missing: dict[str, str],
) -> tuple[tuple[records.EngineCase, ...], str]:
    """Every engine's time, and where threads were pinned."""
    trial = trial_batches(shape, workload, options)
    lengths = tuple(int(factor) for factor in shape.pooling_factors)
    setup = Setup(shape.model, tables.buffer, tables.tables, workload.batch, lengths, options.threads, options.pages)
    own = ours.settled(shape.model, machine, Objective((workload,)), Weights(tables.tables))
    with ExitStack() as stack:
        engines: dict[str, Engine] = {}
        for name, plan in ((WORST, worst), (OWN, own)):
            executable = ours.bound(shape.model, plan, Weights(tables.tables), machine)
            stack.callback(executable.close)
            engines[name] = ours.Ours(setup, executable)
        for peer in options.against:
            engines.update(_peers(peer, setup, stack, missing))
        _check(engines, trial[0], shape, tables, missing)
        turns = in_turns(engines, shape, workload, trial, options)
        per_call = workload.batch * shape.lookups_per_sample
        cases = [
            replace(engine_case(engines[name], spent, turns.samplers[name], per_call), engine=name)
            for name, spent in turns.seconds.items()
        ]
        return tuple(cases), turns.placement


def _peers(peer: str, setup: Setup, stack: ExitStack, missing: dict[str, str]) -> dict[str, Engine]:
    """The rival's engines that can be made here; the others go to `missing` with the reason."""
    found: dict[str, Engine] = {}
    makers, why = rival.makers(PEERS, peer)
    if why:
        missing[peer] = why
    for make in makers:
        try:
            engine = make(setup)
        except Exception as error:  # a rival's failure, of whatever kind, is a result and not the end
            missing[getattr(make, "name", peer)] = rival.reason(error)
            continue
        stack.callback(engine.close)
        found[engine.name] = engine
    return found


def _check(
    engines: dict[str, Engine], ids: Jagged, shape: shapes.Shape, tables: SharedTables, missing: dict[str, str]
) -> None:
    """Leaves out rivals that look up something else.

    Raises:
        RecsmithError: one of ours does.
    """
    wanted_BW = expected.pooled(shape.model, tables.tables, ids)
    for name, engine in list(engines.items()):
        with rounds.active(engine):
            problem = expected.disagreement(engine.output(engine.call(engine.prepare(ids))), wanted_BW)
        if not problem:
            continue
        if name in (WORST, OWN):
            raise RecsmithError("bench", f"{name} {problem}", "This is a fault in recsmith: please report it.")
        missing[name] = problem
        del engines[name]


def _law(law: str, cases: tuple[records.EngineCase, ...], workload: Workload, worst: Plan) -> LawCase:
    medians = {case.engine: case.median_s for case in cases}
    busy = next(p for p in worst.predicted if p.workload == workload.name and p.batch == workload.batch).core_seconds
    mean = math.fsum(busy.values()) / max(1, len(busy))
    return LawCase(_named(law), cases, medians[WORST] / medians[OWN], max(busy.values()) / mean if mean else 1.0)


def _named(law: str) -> str:
    """The law as a record has it: of a trace, the file's name without this machine's folders."""
    kind, _, argument = law.partition(":")
    return f"trace:{Path(argument).name}" if kind == "trace" else law


def _spread(laws: Sequence[LawCase]) -> dict[str, float]:
    times: dict[str, list[float]] = {}
    for law in laws:
        for case in law.cases:
            times.setdefault(case.engine, []).append(case.median_s)
    return {name: max(found) / min(found) for name, found in times.items() if len(found) == len(laws)}
