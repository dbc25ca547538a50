"""`recsmith bench model` on a GPU: from ids on the host to predictions on the host, ours beside torch's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from recsmith import __version__, api
from recsmith.data import distributions, shapes
from recsmith.platforms import load
from recsmith.spec import Batch, Executable, Model, Objective, Platform, Progress, RecsmithError, Weights

from .. import dlrm, process, records, rival, rounds
from ..model import BatchRatio, ModelCase, ModelOptions, ModelRecord, drawn, timed
from .model_rivals import PRECISE, RIVALS, Given

TOLERANCE = {"fp32": 1e-5, "tf32": 5e-3, "fp16": 1e-2}
"""Largest difference to our float32 predictions, over the largest of them."""
_FILL_ROWS = 1 << 20
_FEWEST_BATCHES, _MOST_BATCHES = 8, 256

Bind = Callable[..., Executable]


class OursOnGpu:
    """`executable.run(batch)`, ids checked, staging included."""

    def __init__(self, executable: Executable, precision: str) -> None:
        self.name = "recsmith" if precision == "fp32" else f"recsmith[{precision}]"
        self.version = __version__
        self.settings = f"executable.run(batch), ids checked, staging included, {precision}"
        self._executable = executable

    def activate(self) -> None:
        """Nothing to set."""

    def deactivate(self) -> None:
        """Nothing to put back."""

    def prepare(self, batch: Batch) -> Batch:
        """The batch as it is."""
        return batch

    def call(self, prepared: Batch) -> Any:
        """A `Prediction`."""
        return self._executable.run(prepared)

    def output(self, result: Any) -> NDArray[np.float32]:
        """[B]."""
        return result.values.reshape(-1)


def run_gpu_model(
    options: ModelOptions, progress: Progress | None = None, bind: Bind = api.compile, place: str = "cuda"
) -> ModelRecord:
    """Latency of whole predictions by batch size; ratios are between engines of one precision.

    Args:
        bind: binds a plan, as `api.compile`.
        place: torch's name of the GPU.

    Raises:
        RecsmithError: the workload cannot be a DLRM, our engine fails, or engines predict differently.
    """
    rival.known(RIVALS, options.against, "whole-model rival on a GPU")
    allocator = process.keep_freed_memory()
    platform = load(options.platform or "cuda")
    missing: list[records.Missing] = []
    cases: list[ModelCase] = []
    with ExitStack() as stack:
        engines: dict[str, Any] = {}
        for precision in TOLERANCE:
            made = _engines(options, platform, precision, missing, bind, place, stack, progress)
            engines |= {engine.name: engine for engine in made}
        pins = stack.enter_context(process.Pins(options.threads))
        for at, size in enumerate(options.batches):
            batches = _batches(options, size)
            present = _agreeing(engines, batches[0], missing)
            cases += timed(present, batches, options, size, pins)
            if progress:
                progress("measuring batch sizes", at + 1, len(options.batches))
    nbytes = dlrm.dlrm(shapes.shape(options.workload, options.dim, options.max_bytes), options.interaction).nbytes
    run = records.Run(records.commit(), records.now(), platform.machine, options.threads, str(pins), allocator)
    return ModelRecord(
        options.workload, run, options.ids, nbytes, tuple(cases), ratios(cases), tuple(dict.fromkeys(missing))
    )


def ratios(cases: Sequence[ModelCase]) -> tuple[BatchRatio, ...]:
    """The best rival of each precision beside ours, at each batch size."""
    found = []
    for batch in dict.fromkeys(case.batch for case in cases):
        for precision in TOLERANCE:
            suffix = "" if precision == "fp32" else f"[{precision}]"
            own = [case for case in cases if case.batch == batch and _suffix(case.engine) == suffix]
            mine = next((case for case in own if case.engine.startswith("recsmith")), None)
            others = [case for case in own if case is not mine]
            if mine is not None and others:
                best = min(others, key=lambda case: case.median_s)
                found.append(BatchRatio(batch, best.engine, best.median_s / mine.median_s))
    return tuple(found)


def _suffix(name: str) -> str:
    return name[name.index("[") :] if "[" in name else ""


def _batches(options: ModelOptions, size: int) -> list[Batch]:
    shape = shapes.shape(options.workload, options.dim, options.max_bytes)
    return drawn(options, shape, dlrm.dlrm(shape, options.interaction), size, _FEWEST_BATCHES, _MOST_BATCHES)


def _engines(
    options: ModelOptions,
    platform: Platform,
    precision: str,
    missing: list[records.Missing],
    bind: Bind,
    place: str,
    stack: ExitStack,
    progress: Progress | None,
) -> list[Any]:
    """Ours of one precision and its rivals; in fp16 rows are stored so too, everybody's."""
    shape = shapes.shape(options.workload, options.dim, options.max_bytes, "fp16" if precision == "fp16" else "fp32")
    model = dlrm.dlrm(shape, options.interaction)
    dense = dlrm.parameters(model, options.seed)
    tables = filled(model, options.seed)
    laws = distributions.parse(options.ids, [feature.name for feature in model.features])
    objective = Objective(tuple(replace(shape.workload(b, laws), name=f"b{b}") for b in options.batches))
    plan = api.plan(model, platform, objective, planner="symmetric", allow=options.strategies or ("gm",))
    executable = bind(model, plan, Weights(tables, dense), platform=platform, precision=precision, progress=progress)
    stack.callback(executable.close)
    found: list[Any] = [OursOnGpu(executable, precision)]
    for name in options.against:
        if precision != "fp32" and name not in PRECISE:
            continue
        try:
            engine = RIVALS[name](Given(model, tables, dense, place, precision))
        except Exception as error:  # a rival's failure, of whatever kind, is a result and not the end
            missing.append(records.Missing(name, rival.reason(error)))
            continue
        stack.callback(engine.close)
        found.append(engine)
    return found


def filled(model: Model, seed: int) -> dict[str, NDArray[np.generic]]:
    """Tables of numbers in [-1, 1), the same in every format but for rounding."""
    found: dict[str, NDArray[np.generic]] = {}
    for at, table in enumerate(model.tables):
        draw = np.random.Generator(np.random.SFC64(seed + at))
        rows = np.empty((table.rows, table.dim), np.float16 if table.format.dtype == "fp16" else np.float32)
        for start in range(0, table.rows, _FILL_ROWS):
            part = rows[start : start + _FILL_ROWS]
            part[:] = 2 * draw.random(part.shape, dtype=np.float32) - 1
        found[table.name] = rows
    return found


def _agreeing(engines: Mapping[str, Any], batch: Batch, missing: list[records.Missing]) -> dict[str, Any]:
    """Those that predict what our float32 does; of ours all have to."""
    found: dict[str, Any] = {}
    wanted: NDArray[np.float32] | None = None
    for name, engine in engines.items():
        try:
            with rounds.active(engine):
                got = engine.output(engine.call(engine.prepare(batch)))
        except Exception as error:
            if name.startswith("recsmith"):
                raise
            missing.append(records.Missing(name, rival.reason(error)))
            continue
        wanted = got if wanted is None else wanted
        off = float(np.abs(got - wanted).max() / np.abs(wanted).max())
        bound = TOLERANCE[_suffix(name).strip("[]") or "fp32"]
        if off <= bound:
            found[name] = engine
        elif name.startswith("recsmith"):
            raise RecsmithError("bench", f"'{name}' is off by {off:.2g} of the largest prediction", "Please report it.")
        else:
            missing.append(records.Missing(name, f"is off by {off:.2g} of the largest prediction, allowed {bound:g}"))
    return found
