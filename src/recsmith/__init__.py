"""recsmith: inference for deep recommendation models, planned for the machine it runs on.

    model, weights = recsmith.load("model/")
    machine = recsmith.measure()
    plan = recsmith.plan(model, machine, recsmith.Workload.zipf(model, batch=128))
    with recsmith.compile(model, plan, weights, platform=machine) as engine:
        prediction = engine.run(recsmith.Batch(recsmith.Jagged(ids, None, 128), dense))

The nouns are in `recsmith.spec`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import compile, load, measure, optimize, plan, platform, predict, verify
    from .spec import Batch, Jagged, Objective, Plan, RecsmithError, Workload

__version__ = "0.1.0"

_HOMES = {
    "recsmith.api": ("compile", "load", "measure", "optimize", "plan", "platform", "predict", "verify"),
    "recsmith.spec": ("Batch", "Jagged", "Objective", "Plan", "RecsmithError", "Workload"),
}

__all__ = [
    "Batch",
    "Jagged",
    "Objective",
    "Plan",
    "RecsmithError",
    "Workload",
    "compile",
    "load",
    "measure",
    "optimize",
    "plan",
    "platform",
    "predict",
    "verify",
]


def __getattr__(name: str) -> Any:
    """A public name, imported when first asked for."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'recsmith' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
