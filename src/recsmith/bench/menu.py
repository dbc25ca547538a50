"""Which runner measures, by the kind of platform."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from recsmith.platforms import load
from recsmith.spec import InputError, Progress, Registry

from .gpu.options import PEERS as GPU_PEERS
from .gpu.options import GpuOptions
from .model import USUAL_RIVALS, ModelOptions, ModelRecord
from .options import PEERS, LookupOptions
from .records import LookupRecord

RUNNERS = Registry("benchmark", {"cpu": "recsmith.bench.lookup:run_lookup_bench", "cuda": "recsmith.bench.menu:on_gpu"})
MODEL_RUNNERS = Registry(
    "benchmark", {"cpu": "recsmith.bench.model:run_model_bench", "cuda": "recsmith.bench.menu:model_on_gpu"}
)


def run_model(options: ModelOptions, progress: Progress | None = None) -> ModelRecord:
    """Measure whole predictions on the machine that `options` name.

    Raises:
        RecsmithError: as the runner says.
    """
    kind = load(options.platform or "cpu").kind
    runner: Callable[[ModelOptions, Progress | None], ModelRecord] = MODEL_RUNNERS[kind]
    return runner(options, progress)


def model_on_gpu(options: ModelOptions, progress: Progress | None = None) -> ModelRecord:
    """The same on the GPU that is here, with its own rivals where none were chosen.

    Raises:
        RecsmithError: as the runner says.
    """
    from .gpu.model import run_gpu_model
    from .gpu.model_rivals import RIVALS

    if options.fold_bytes:
        raise InputError("bench", "features are not folded on GPUs", "Leave out --fold.")
    # The rivals of processors are the default; on a GPU that means its own.
    chosen = tuple(RIVALS) if options.against == USUAL_RIVALS else options.against
    return run_gpu_model(replace(options, against=chosen), progress)


def run_lookup(options: LookupOptions, progress: Progress | None = None) -> LookupRecord:
    """Measure one case on the machine that it names.

    Raises:
        RecsmithError: as the runner says.
    """
    runner: Callable[[LookupOptions, Progress | None], LookupRecord] = RUNNERS[load(options.platform or "cpu").kind]
    return runner(options, progress)


def on_gpu(options: LookupOptions, progress: Progress | None = None) -> LookupRecord:
    """The same case on the GPU that is here.

    Raises:
        UnavailableError: there is none.
        InputError: the case asks for what is not timed on GPUs.
    """
    from .gpu.run import run_gpu_lookup

    return run_gpu_lookup(gpu_options(options), progress)


def gpu_options(options: LookupOptions) -> GpuOptions:
    """`options` as the runner for GPUs takes them.

    Raises:
        InputError: the case asks for what is not timed on GPUs.
    """
    dtype, fuse = options.dtype, options.fuse
    if dtype not in ("fp32", "fp16", "int8", "int4"):
        raise InputError("bench", f"rows of {dtype} are not timed on GPUs", "Choose fp32, fp16, int8 or int4.")
    if fuse not in ("none", "dot"):
        raise InputError("bench", f"the interaction '{fuse}' is not timed on GPUs", "Choose none or dot.")
    return GpuOptions(
        workload=options.workload,
        batch=options.batch,
        dim=options.dim,
        ids=options.ids,
        dtype=dtype,
        fuse=fuse,
        max_bytes=options.max_bytes,
        platform=options.platform or "cuda",
        planner=options.planner,
        strategies=options.strategies,
        # The rivals of processors are the default; on a GPU that means its own.
        against=GPU_PEERS if options.against == PEERS else options.against,
        rounds=options.rounds,
        seed=options.seed,
    )
