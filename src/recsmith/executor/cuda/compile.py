"""Binds a plan to a GPU."""

from __future__ import annotations

from collections import defaultdict

from recsmith.kernels.cuda.device import Device
from recsmith.spec import (
    ForeignPlanError,
    Gather,
    Model,
    Plan,
    PlanError,
    Platform,
    Problem,
    Progress,
    UnavailableError,
    Weights,
)
from recsmith.spec.check import check_coverage, check_origin

from .executable import CudaExecutable
from .launches import Lookups, expected_bags
from .prediction import DlrmOnGpu
from .tables import place_tables
from .torch_side import Precision, TorchGpu, TorchSide


def compile(
    model: Model,
    plan: Plan,
    weights: Weights,
    *,
    platform: Platform,
    device: Device | None = None,
    device_bytes: int | None = None,
    isa: str = "auto",
    precision: Precision = "fp32",
    torch_side: TorchSide | None = None,
    allow_foreign: bool = False,
    progress: Progress | None = None,
) -> CudaExecutable:
    """An executable of `plan` on the GPU that is here.

    Args:
        platform: the GPU.
        device: the first GPU when None.
        device_bytes: of the GPU's memory for tables; what is free when None. The others lie in pinned host memory.
        isa: "auto", or what the kernels must be compiled for ("sm_90").
        precision: of MLPs and products of vectors in predictions: `fp32`, `tf32` (MLPs only), `fp16` or `bf16`.
        torch_side: who runs the MLPs; torch on this GPU when None, asked for by the first prediction.
        allow_foreign: take a plan that was made for another machine.
        progress: told the bytes copied.

    Raises:
        ForeignPlanError: the plan was made for another model or machine.
        PlanError: the plan does not serve the model, or the model has computed tables.
        UnavailableError: there is no GPU, it is another than `isa` says, or no kernel for a data flow of the plan.
        FormatError: the weights do not fit the model.
        CapacityError: the tables fit neither the GPU's memory nor the host's.
    """
    if platform.kind != "cuda":
        raise ForeignPlanError("compile", f"'{platform.name}' is no GPU", "Compile on the machine that will serve.")
    if model.computes:
        raise PlanError(
            "compile", f"model '{model.name}' computes some of its rows", "Finish them: recsmith convert --to table."
        )
    ops = tuple(Gather(f.name, f.table, f.pooling, f.weighted) for f in model.features)
    problem = Problem(model, ops, plan.objective, platform)
    check_origin(plan, problem, allow_foreign=allow_foreign)
    check_coverage(plan, problem)
    gpu = device or Device()
    if isa not in ("auto", gpu.architecture):
        raise UnavailableError("compile", f"isa '{isa}' was asked for; this GPU is {gpu.architecture}", "Use 'auto'.")
    bags = expected_bags(plan.objective)
    cores = {core.id: at for at, core in enumerate(platform.cores)}
    asked: dict[str, float] = defaultdict(float)
    for feature in model.features:
        asked[feature.table] += bags.get(feature.name, 1.0)
    tables = place_tables(model, weights, gpu, asked, device_bytes=device_bytes, progress=progress)
    lookups = Lookups(model, tables.rows, bags, cores)

    def dense() -> tuple[DlrmOnGpu, TorchSide]:
        side = torch_side or TorchGpu(gpu, precision)
        return DlrmOnGpu(model, weights, lookups, gpu, side, precision), side

    return CudaExecutable(model, plan, gpu, tables, lookups, dense)
