"""Binds a plan to a GPU."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from recsmith.kernels.cuda import KEPT_BY
from recsmith.kernels.cuda.device import Device
from recsmith.kernels.cuda.hashed import GROUPED, GROUPED_ON
from recsmith.representations import served
from recsmith.spec import (
    ForeignPlanError,
    Gather,
    Model,
    Plan,
    Platform,
    Problem,
    Progress,
    UnavailableError,
    Weights,
)
from recsmith.spec.check import check_coverage, check_origin

from .computed import ComputedTables
from .executable import CudaExecutable
from .launches import Lookups, expected_bags
from .parts import check_stages
from .prediction import DlrmOnGpu
from .tables import place_tables
from .torch_side import ELEMENT, Precision, TorchGpu, TorchSide


def compile(
    model: Model,
    plan: Plan,
    weights: Weights,
    *,
    platform: Platform,
    device: Device | None = None,
    device_bytes: int | None = None,
    profile: Mapping[str, NDArray[np.int64]] | None = None,
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
        profile: table name to distinct ids, most asked first: of a table that is cut, the rows which lie on the GPU; of
            a computed one, those which are finished now and kept, where the plan keeps some.
        isa: "auto", or what the kernels must be compiled for ("sm_90").
        precision: of MLPs and products of vectors in predictions: `fp32`, `tf32` (MLPs only), `fp16` or `bf16`.
        torch_side: who runs the MLPs; torch on this GPU when None, asked for by the first prediction.
        allow_foreign: take a plan that was made for another machine.
        progress: told the bytes copied.

    Raises:
        ForeignPlanError: the plan was made for another model or machine.
        PlanError: the plan does not serve the model, or a profile of what it keeps is missing or too short.
        UnavailableError: there is no GPU, it is another than `isa` says, or no kernel for a data flow of the plan
            or a computed table.
        FormatError: the weights do not fit the model.
        CapacityError: the tables fit neither the GPU's memory nor the host's.
    """
    if platform.kind != "cuda":
        raise ForeignPlanError("compile", f"'{platform.name}' is no GPU", "Compile on the machine that will serve.")
    seen = served(model, plan.serving)
    ops = tuple(Gather(f.name, f.table, f.pooling, f.weighted) for f in seen.features)
    problem = Problem(seen, ops, plan.objective, platform)
    check_origin(plan, problem, allow_foreign=allow_foreign)
    check_coverage(plan, problem)
    gpu = device or Device()
    _check_clusters(plan, gpu)
    for bucket in plan.buckets:
        check_stages(bucket.stages)
    if isa not in ("auto", gpu.architecture):
        raise UnavailableError("compile", f"isa '{isa}' was asked for; this GPU is {gpu.architecture}", "Use 'auto'.")
    computed = None
    if model.computes:
        computed = ComputedTables(
            gpu, model, weights, plan.serving, ELEMENT[precision], profile, _grouped(platform, gpu)
        )
    bags = expected_bags(plan.objective)
    cores = {core.id: at for at, core in enumerate(platform.cores)}
    asked: dict[str, float] = defaultdict(float)
    for feature in seen.features:
        asked[feature.table] += bags.get(feature.name, 1.0)
    stored = model if computed is None else computed.stored
    tables = place_tables(stored, weights, gpu, asked, device_bytes=device_bytes, profile=profile, progress=progress)
    rows = dict(tables.rows)
    if computed is not None:
        rows |= {name: found for name, (found, _) in computed.finished.items()}
    live = frozenset(() if computed is None else (table.name for table in computed.live_tables))
    lookups = Lookups(seen, rows, bags, cores, live=live)

    layers = Weights({}, weights.dense)

    def dense() -> tuple[DlrmOnGpu, TorchSide]:
        side = torch_side or TorchGpu(gpu, precision)
        return DlrmOnGpu(seen, layers, gpu, side, precision), side

    return CudaExecutable(model, plan, gpu, tables, lookups, dense, computed)


def _check_clusters(plan: Plan, gpu: Device) -> None:
    placements = [p for bucket in plan.buckets for stage in bucket.stages for p in stage.placements]
    together = {p.strategy for p in placements if KEPT_BY.get(p.strategy, 1) > 1}
    if together and not gpu.attribute("clusters"):
        raise UnavailableError(
            "compile",
            f"strategy '{sorted(together)[0]}' needs clusters, which this GPU ({gpu.architecture}) does not have",
            "Plan without it: recsmith plan --strategies gm,l1,gm_ub.",
        )


def _grouped(platform: Platform, gpu: Device) -> frozenset[str]:
    """Capabilities that say where products of warp groups are taken: where they were tried, right and faster."""
    if gpu.architecture != GROUPED_ON:
        return frozenset()
    return frozenset(each for each in platform.capabilities if each.startswith(GROUPED))
