"""How does the look-up gain from more cores, by symmetric mapping, by row shards and by tables with an owner?

    python benchmarks/cores.py --threads 1 2 4 8 16 --budget 450

Every mapping and PyTorch in turns on the same weights, on the shapes of [ASYM]. One JSON line a shape, batch and number
of threads; lines that the results file has are left out, so that several short runs make one table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import msgspec
from where import results

from recsmith import api
from recsmith.bench import expected, ours, process, records, rival, rounds
from recsmith.bench.engine import Setup
from recsmith.bench.peers import PEERS
from recsmith.bench.prediction import SHAPES, PredictionOptions
from recsmith.bench.tables import SharedTables
from recsmith.bench.turns import in_turns, trial_batches
from recsmith.cost import COSTS
from recsmith.data import distributions, shapes
from recsmith.planner.draft import drafted
from recsmith.planner.evaluate import Pricer
from recsmith.platforms import load, restrict
from recsmith.spec import (
    Bucket,
    Model,
    Objective,
    Placement,
    Plan,
    Platform,
    Record,
    Shard,
    Stage,
    Weights,
    Workload,
)

MAPPINGS = ("symmetric", "row shards", "owned")


class Timed(Record, frozen=True):
    """One engine's time for one batch."""

    median_s: float
    q1_s: float
    q3_s: float


class CoresRecord(Record, frozen=True):
    """One shape, batch and number of threads.

    Attributes:
        engines: name to its time; `symmetric`, `row shards` and `owned` are ours.
        over_torch: each mapping's gain over eager PyTorch; empty where it could not take part.
        over_symmetric: each mapping's gain over the symmetric one.
        over_rival: the best mapping's gain over the best rival; None where none could take part.
        missing: rivals that could not take part, and why.
    """

    workload: str
    batch: int
    ids: str
    run: records.Run
    engines: dict[str, Timed]
    over_torch: dict[str, float]
    over_symmetric: dict[str, float]
    over_rival: float | None
    missing: dict[str, str]
    kind: Literal["cores"] = "cores"
    version: int = 1


def main() -> None:
    asked = arguments()
    target = asked.results or results("cores")
    had, start = done(target), time.monotonic()
    process.keep_freed_memory()
    for name in asked.shapes:
        wanted = [(batch, n) for batch in asked.batches for n in asked.threads if (name, batch, n) not in had]
        if not wanted or time.monotonic() - start > asked.budget:
            print(*(f"left: {name} b{batch} {n} threads" for batch, n in wanted), sep="\n")
            continue
        shape = shapes.shape(name, max_bytes=asked.max_bytes)
        tables = SharedTables(shape.model, asked.pages)
        for batch, threads in wanted:
            if time.monotonic() - start > asked.budget:
                print(f"left: {name} b{batch} {threads} threads")
                continue
            record = measured(asked, shape, tables, batch, threads)
            records.append(target, record)
            times = " ".join(f"{engine} {timed.median_s * 1e6:.1f}" for engine, timed in record.engines.items())
            print(f"[{time.monotonic() - start:4.0f}] {name} b{batch} {threads} threads: us: {times}", flush=True)
        del tables


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES))
    parser.add_argument("--batches", nargs="+", type=int, default=[2048])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2, 4, 8, 16])
    parser.add_argument("--ids", default="uniform")
    parser.add_argument("--pages", default="huge", choices=["huge", "4k"])
    parser.add_argument("--against", nargs="+", default=["torch", "fbgemm"])
    parser.add_argument("--max-bytes", type=int, default=8_000_000_000)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--budget", type=float, default=float("inf"), help="seconds after which no case is begun")
    parser.add_argument("--results", type=Path, help="another file than this machine's")
    return parser.parse_args()


def done(path: Path) -> set[tuple[str, int, int]]:
    """Shapes, batches and threads that a file already holds."""
    lines = path.read_text().splitlines() if path.exists() else []
    found = [msgspec.json.decode(line, type=CoresRecord) for line in lines]
    return {(record.workload, record.batch, record.run.threads) for record in found}


def measured(
    asked: argparse.Namespace, shape: shapes.Shape, tables: SharedTables, batch: int, threads: int
) -> CoresRecord:
    """All mappings and rivals in turns."""
    options = PredictionOptions(threads=threads, rounds=asked.rounds)
    law = distributions.parse(asked.ids, [feature.name for feature in shape.model.features])
    workload = shape.workload(batch, law, asked.ids)
    machine = restrict(load("cpu"), threads)
    trial = trial_batches(shape, workload, options)
    lengths = tuple(int(factor) for factor in shape.pooling_factors)
    setup = Setup(shape.model, tables.buffer, tables.tables, batch, lengths, threads, asked.pages)
    wanted_BW = expected.pooled(shape.model, tables.tables, trial[0])
    engines: dict[str, Any] = {}
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        for name, plan in plans(shape.model, machine, workload).items():
            executable = ours.bound(shape.model, plan, Weights(tables.tables), machine)
            stack.callback(executable.close)
            engines[name] = ours.Ours(setup, executable)
        for name, make in makers(asked.against, missing):
            try:
                engines[name] = make(setup)
            except Exception as error:  # a rival's failure is a result and not the end
                missing[name] = rival.reason(error)
        for name, engine in list(engines.items()):
            with rounds.active(engine):
                problem = expected.disagreement(engine.output(engine.call(engine.prepare(trial[0]))), wanted_BW)
            if problem and name in MAPPINGS:
                raise SystemExit(f"{name} {problem}")
            if problem:
                missing[name] = problem
                del engines[name]
        turns = in_turns(engines, shape, workload, trial, options)
    run = records.Run(records.commit(), records.now(), machine.machine, threads, turns.placement)
    return recorded(shape.file.name, batch, asked.ids, run, turns.seconds, missing)


def makers(names: list[str], missing: dict[str, str]) -> list[tuple[str, Any]]:
    found = []
    for name in names:
        made, why = rival.makers(PEERS, name)
        if why:
            missing[name] = why
        found += [(getattr(make, "name", name), make) for make in made]
    return found


def plans(model: Model, machine: Platform, workload: Workload) -> dict[str, Plan]:
    """The three mappings; with one core they are one."""
    made = {"symmetric": ours.planned(model, machine, Objective((workload,)), "symmetric", ("gm",))}
    if len(machine.cores) == 1:
        return made
    pricer = Pricer(api.problem(model, machine, workload), api.strategies(["gm"]), COSTS["fitted"]())
    for name, placements in (("row shards", shards(pricer)), ("owned", owned(pricer, workload))):
        made[name] = drafted(pricer, name, (Bucket(None, (Stage(tuple(placements)),)),))
    return made


def shards(pricer: Pricer) -> list[Placement]:
    """Every table cut by rows, a piece a core; tables with fewer rows than cores whole, on one."""
    cores = [core.id for core in pricer.problem.platform.cores]
    found = []
    for at, feature in enumerate(pricer.ops):
        whole = pricer.whole(feature)
        if whole.rows < len(cores):
            found.append(Placement(feature, whole, (cores[at % len(cores)],), "gm"))
            continue
        edges = [whole.rows * i // len(cores) for i in range(len(cores) + 1)]
        found += [
            Placement(feature, Shard(whole.table, edges[i], edges[i + 1]), (core,), "gm", reduce="add")
            for i, core in enumerate(cores)
        ]
    return found


def owned(pricer: Pricer, workload: Workload) -> list[Placement]:
    """Every table whole on one core: most look-ups first, on the core that has fewest."""
    load = {core.id: 0.0 for core in pricer.problem.platform.cores}
    asked: Mapping[str, float] = {feature: workload.access(feature).pooling_factor for feature in pricer.ops}
    found = []
    for feature in sorted(pricer.ops, key=lambda name: -asked[name]):
        core = min(load, key=lambda name: load[name])
        load[core] += asked[feature] + 1.0
        found.append(Placement(feature, pricer.whole(feature), (core,), "gm"))
    return found


def recorded(
    workload: str,
    batch: int,
    ids: str,
    run: records.Run,
    seconds: Mapping[str, list[float]],
    missing: dict[str, str],
) -> CoresRecord:
    """The record of one case."""
    seen = {name: rounds.measurement(found) for name, found in seconds.items()}
    timed = {name: Timed(each.seconds, each.q1_s, each.q3_s) for name, each in seen.items()}
    mine = {name: each.median_s for name, each in timed.items() if name in MAPPINGS}
    rivals = [each.median_s for name, each in timed.items() if name not in MAPPINGS]
    default = timed.get("torch")
    return CoresRecord(
        workload,
        batch,
        ids,
        run,
        timed,
        {name: default.median_s / s for name, s in mine.items()} if default else {},
        {name: mine["symmetric"] / s for name, s in mine.items()},
        min(rivals) / min(mine.values()) if rivals else None,
        missing,
    )


if __name__ == "__main__":
    main()
