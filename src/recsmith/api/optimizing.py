"""The drop-in: a PyTorch module in, the same module with one planned look-up out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recsmith.spec import Executable, Model, Platform, Weights, Workload

from .compose import compile, plan, platform

if TYPE_CHECKING:
    from recsmith.executor.dropin import Optimised


def optimize(
    module: Any,
    sample: Any,
    *,
    batch: int = 128,
    machine: Platform | None = None,
    planner: str = "auto",
    **options: Any,
) -> Optimised:
    """A `torch.nn.Module` of the same signature and outputs, whose tables are looked up in one native call.

    Args:
        module: any module whose sparse part is `nn.EmbeddingBag` or `nn.Embedding`.
        sample: example arguments of its forward: a tuple or list, a mapping by name, or the only tensor.
        batch: samples that a typical call brings; planned for.
        machine: this machine's profile (`measure`); probed, with modelled speeds, when None.
        planner: a name on `recsmith.planner.PLANNERS`.
        options: `isa`, `pages`, `progress`; see `recsmith.executor.compile`.

    Raises:
        CheckpointError: the module cannot be captured; names the line at fault.
    """
    from recsmith.executor.dropin import optimize as capture

    here = machine or platform("cpu")

    def build(model: Model, weights: Weights) -> Executable:
        made = plan(model, here, Workload.uniform(model, batch), planner=planner)
        return compile(model, made, weights, platform=here, **options)

    return capture(module, sample, build=build)
