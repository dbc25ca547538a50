"""From ids through the top MLP's first layer: ours with rows multiplied beforehand, beside rivals' look-up and layer.

B samples, I inputs and O outputs of the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from recsmith import api
from recsmith.calibration.turns import Turns
from recsmith.calibration.whole import batches_from_far
from recsmith.executor.folded import FoldedExecutable, compile_folded
from recsmith.planner.folding import choices
from recsmith.platforms import restrict
from recsmith.representations.folding import candidates
from recsmith.spec import Jagged, Progress, Record, RecsmithError, Weights

from . import dlrm, expected, process, records, rival, rounds
from .engine import Engine
from .layer_engines import Layered, engines, torch_threads
from .lookup import begin, drawn, samplers_of
from .options import LookupOptions
from .peers import PEERS
from .records import OURS, is_ours
from .result import described, engine_case
from .session import Bench

UNFOLDED = "recsmith[unfolded]"
_TRIAL_BATCHES = 96
_CHECKED = 2
_TOLERANCE = 1e-5
_ROUNDS = 7
"""Of each set of folded features."""


class LayerRecord(Record, frozen=True):
    """The result of `benchmarks/first_layer.py`.

    Attributes:
        outputs: of the layer.
        folded: features whose rows are stored multiplied with the layer: of the sets that were timed, the fastest.
        folded_bytes: of those rows, beside the tables.
        rehearsed_s: number of folded features to the seconds of a call with them, before the engines were timed.
        ratio_to_best_peer: the best rival's median over ours; above 1 we are faster.
        ratio_to_torch: the best rival's with torch's own product.
        ratio_to_unfolded: ours without folded rows over ours.
    """

    workload: str
    run: records.Run
    case: records.LookupCase
    outputs: int
    folded: tuple[str, ...]
    folded_bytes: int
    rehearsed_s: dict[str, float]
    cases: tuple[records.EngineCase, ...]
    best_peer: str | None
    ratio_to_best_peer: float | None
    best_torch: str | None
    ratio_to_torch: float | None
    ratio_to_unfolded: float
    missing: tuple[records.Missing, ...]
    kind: Literal["first_layer"] = "first_layer"
    version: int = 1


def run_layer_bench(options: LookupOptions, max_bytes: int, progress: Progress | None = None) -> LayerRecord:
    """Measure one case.

    Args:
        max_bytes: that folded rows may take.

    Raises:
        RecsmithError: the case is impossible, or our own engine fails. Rivals that fail are listed in `missing`.
    """
    allocator = process.keep_freed_memory()
    bench = begin(msgspec.structs.replace(options, fuse="cat"), progress)
    with ExitStack() as stack:
        trial = drawn(bench, _TRIAL_BATCHES, options.seed + 1)
        check = _Check(bench, trial[:_CHECKED])
        ours, seconds = _ours(bench, max_bytes, stack, progress)
        for engine in ours:
            reason = check(engine)
            if reason:
                raise RecsmithError(
                    "bench", f"{engine.name} {reason}", "This is a fault in recsmith: please report it."
                )
        _admit_peers(bench, check, stack, progress)
        # Not before: what is bound now may use every processor.
        pins = stack.enter_context(process.Pins(options.threads))
        pool, samplers = samplers_of(bench, trial, progress)
        spent = rounds.interleaved(samplers, options.rounds, progress, pins.apply)
        folded = ours[0].executable
        run = records.Run(
            records.commit(), records.now(), bench.platform.machine, options.threads, str(pins), allocator
        )
        per_call = sum(len(ids.values) for ids in pool.batches) / len(pool.batches)
        cases = tuple(engine_case(e, spent[name], samplers[name], per_call) for name, e in bench.engines.items())
        return _record(bench, run, cases, (folded.names, folded.folded_bytes, seconds), per_call)


def _ours(
    bench: Bench, max_bytes: int, stack: ExitStack, progress: Progress | None
) -> tuple[list[Layered], dict[int, float]]:
    """Ours with the set of features folded that is fastest, and with none; and the seconds of each set by its size."""
    model, platform = bench.shape.model, restrict(bench.platform, bench.options.threads)
    weights = Weights(bench.tables.tables, dlrm.parameters(model))
    plain = api.plan(model, platform, bench.workload)
    plans = {0: plain} | {
        len(names): api.fold(model, plain, names, platform=platform)
        for names in choices(candidates(model), platform, max_bytes)
    }
    seconds = {}
    with torch_threads(bench.options.threads):
        for at, (count, plan) in enumerate(plans.items()):
            if progress:
                progress("timing folded features", at, len(plans))
            # One after the other: all of them together would take several times the memory.
            with compile_folded(model, plan, weights, platform=platform, pages="borrow") as executable:
                seconds[count] = _timed(executable, bench)
    best = min(seconds, key=lambda count: seconds[count])
    made = []
    for name, count in ((OURS, best), (UNFOLDED, 0)):
        plan = api.rehearse(model, plans[count], weights, platform=platform)
        executable = compile_folded(model, plan, weights, platform=platform, pages="borrow")
        stack.callback(executable.close)
        made.append(Layered(bench.setup, executable, name))
    return made, seconds


def _timed(executable: FoldedExecutable, bench: Bench) -> float:
    """Seconds of a call from ids to the first layer's output."""
    joint = bench.setup.joint
    bottom_BE = joint.bottom if joint is not None and joint.dim else None

    def serve(executable: Any, ids: Jagged) -> None:
        executable.first_layer(ids, bottom_BE)

    turns = Turns([executable], batches_from_far(bench.shape.model, bench.workload), serve)
    turns.go(_ROUNDS)
    return median(turns.spent[0])


class _Check:
    """Whether an engine gives the layer's output; those that do take part."""

    def __init__(self, bench: Bench, trial: Sequence[Jagged]) -> None:
        self._bench, self._trial = bench, trial
        dense = dlrm.parameters(bench.shape.model)
        weight_OI, bias_O = (dense[f"top.0.{kind}"].astype(np.float64) for kind in ("weight", "bias"))
        joined = [expected.output(bench.shape.model, bench.tables.tables, ids, bench.setup.joint) for ids in trial]
        self._wanted: list[NDArray[np.float64]] = [np.maximum(x_BI @ weight_OI.T + bias_O, 0.0) for x_BI in joined]

    def __call__(self, engine: Engine) -> str:
        """Add the engine, or say what is wrong with its output."""
        for ids, wanted_BO in zip(self._trial, self._wanted, strict=True):
            with rounds.active(engine):
                got_BO = engine.output(engine.call(engine.prepare(ids)))
            worst = float(np.abs(got_BO - wanted_BO).max())
            if not worst <= _TOLERANCE * float(np.abs(wanted_BO).max()):
                return f"is off by {worst:.3g}"
        self._bench.engines[engine.name] = engine
        return ""


def _admit_peers(bench: Bench, check: Callable[[Engine], str], stack: ExitStack, progress: Progress | None) -> None:
    parameters = dlrm.parameters(bench.shape.model)
    for at, peer in enumerate(bench.options.against):
        found, why = rival.makers(PEERS, peer)
        if why:
            bench.missing.append(records.Missing(peer, why))
        for name, make in engines(peer, found, parameters["top.0.weight"], parameters["top.0.bias"]):
            try:
                engine = make(bench.setup)
                stack.callback(engine.close)
                reason = check(engine)
            except Exception as error:  # a rival's failure, of whatever kind, is a result and not the end
                reason = rival.reason(error)
            if reason:
                bench.missing.append(records.Missing(name, reason))
        if progress:
            progress("starting rivals", at + 1, len(bench.options.against))


def _record(
    bench: Bench,
    run: records.Run,
    cases: tuple[records.EngineCase, ...],
    folded: tuple[tuple[str, ...], int, dict[int, float]],
    per_call: float,
) -> LayerRecord:
    names, nbytes, seconds = folded
    times = {case.engine: case.median_s for case in cases}
    peers = {name: s for name, s in times.items() if not is_ours(name)}
    own = {name: s for name, s in peers.items() if "onednn" not in name}
    best, torch = (min(found, key=lambda name: found[name], default=None) for found in (peers, own))
    assert bench.shape.model.top is not None
    return LayerRecord(
        workload=bench.options.workload,
        run=run,
        case=described(bench, per_call),
        outputs=bench.shape.model.top.widths[1],
        folded=names,
        folded_bytes=nbytes,
        rehearsed_s={str(count): s for count, s in seconds.items()},
        cases=cases,
        best_peer=best,
        ratio_to_best_peer=peers[best] / times[OURS] if best else None,
        best_torch=torch,
        ratio_to_torch=own[torch] / times[OURS] if torch else None,
        ratio_to_unfolded=times[UNFOLDED] / times[OURS],
        missing=tuple(bench.missing),
    )
