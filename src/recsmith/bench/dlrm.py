"""A DLRM of a workload's shape, with random parameters: what `bench model` and tests run."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recsmith.data.shapes import Shape
from recsmith.spec import InputError, Interaction, Mlp, Model
from recsmith.spec.model import Activation

from .engine import Joint

# For workloads whose source names no MLPs: those of facebookresearch/dlrm's Criteo-Kaggle configuration.
_BOTTOM, _TOP = (512, 256, 64), (512, 256, 1)


def dlrm(shape: Shape, interaction: Literal["dot", "cat"] | None = None) -> Model:
    """The shape's tables with bottom MLP, interaction and top MLP as its source has them.

    MLPs that the source does not name are those of DLRM's Criteo-Kaggle configuration; vectors of different dims,
    or without dense inputs, are concatenated instead of multiplied.

    Args:
        interaction: how to join vectors; None leaves it to the source.

    Raises:
        InputError: the source joins vectors in a way that a `Model` cannot express, or `dot` is asked for where it
            cannot be.
    """
    file, tables = shape.file, shape.model.tables
    if file.interaction not in ("", "dot", "cat"):
        raise InputError(
            "bench", f"workload '{file.name}' joins vectors by '{file.interaction}'", "Choose one that uses dot or cat."
        )
    dims = {table.dim for table in tables}
    able = bool(file.dense_inputs) and len(dims) == 1
    if interaction == "dot" and not able:
        raise InputError(
            "bench",
            f"workload '{file.name}' has {'several dims' if file.dense_inputs else 'no dense inputs'}",
            "Choose --fuse cat, or another workload.",
        )
    kind = interaction or ("dot" if able and file.interaction != "cat" else "cat")
    dim = max(dims)
    bottom: tuple[int, ...] = ()
    if kind == "dot":
        bottom = (*(file.bottom[:-1] or (file.dense_inputs, *_BOTTOM)), dim)
    elif file.dense_inputs:
        bottom = file.bottom or (file.dense_inputs, *_BOTTOM)
    first = bottom[-1] if bottom else 0
    vectors = len(shape.model.features) + 1
    first += vectors * (vectors - 1) // 2 if kind == "dot" else shape.model.width
    top = (first, *(file.top if file.top and file.top[-1] == 1 else _TOP))
    return Model(
        name=shape.model.name,
        tables=tables,
        features=shape.model.features,
        dense_inputs=file.dense_inputs,
        bottom=Mlp(bottom, _activations(len(bottom) - 1, "relu"), "bottom") if bottom else None,
        interaction=Interaction("dot" if kind == "dot" else "cat"),
        top=Mlp(top, _activations(len(top) - 1, "sigmoid"), "top"),
        provenance=shape.model.provenance,
    )


def _activations(layers: int, last: Activation) -> tuple[Activation, ...]:
    return (*(["relu"] * (layers - 1)), last)  # type: ignore[arg-type]


def parameters(model: Model, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Random parameters of the dense parts, scaled so that activations keep their size."""
    rng = np.random.default_rng(seed)
    found: dict[str, NDArray[np.float32]] = {}
    for part in filter(None, (model.bottom, model.top)):
        for layer in range(len(part.activations)):
            fan_in, fan_out = part.widths[layer], part.widths[layer + 1]
            scale = np.float32(np.sqrt(2 / (fan_in + fan_out)))
            found[f"{part.prefix}.{layer}.weight"] = scale * rng.standard_normal((fan_out, fan_in), dtype=np.float32)
            found[f"{part.prefix}.{layer}.bias"] = 0.1 * rng.standard_normal(fan_out, dtype=np.float32)
    return found


def joint(model: Model, batch: int, seed: int = 0) -> Joint | None:
    """The interaction of `model` with random outputs of its bottom MLP; None when it has none."""
    if model.interaction is None:
        return None
    dim = model.bottom.widths[-1] if model.bottom else 0
    bottom_BE = np.random.default_rng(seed).random((batch, dim), dtype=np.float32)
    return Joint(model.interaction, len(model.features) + 1, bottom_BE)
