"""Computing as it is served, on its own: what a machine is measured with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recsmith.kernels.cpu import choose_target
from recsmith.spec import Mlp, Table, Weights

from .linear import import_torch
from .mlp import MlpLayers
from .rows import row_maker


def rows_of(
    table: Table, parameters: Mapping[str, NDArray[Any]], precision: Literal["fp32", "bf16"], threads: int
) -> Callable[[NDArray[np.int64]], object]:
    """What computes the rows of ids [U] with so many threads.

    Raises:
        UnavailableError: torch is not installed.
    """
    maker = row_maker(table, parameters, choose_target("auto"), precision)
    out = np.empty((table.rows, table.dim), np.float32)
    return _with_threads(lambda ids_U: maker.write(ids_U, out[: len(ids_U)]), threads)


def mlp_of(part: Mlp, threads: int) -> Callable[[NDArray[np.float32]], object]:
    """What runs the MLP, of random weights, on inputs [B, I] with so many threads.

    Raises:
        UnavailableError: torch is not installed.
    """
    torch, draw = import_torch(), np.random.default_rng(0)
    dense = {}
    for at, (wide, out) in enumerate(pairwise(part.widths)):
        dense[f"{part.prefix}.{at}.weight"] = draw.normal(0, wide**-0.5, (out, wide)).astype(np.float32)
        dense[f"{part.prefix}.{at}.bias"] = draw.normal(size=out).astype(np.float32)
    layers = MlpLayers(part, Weights({}, dense))

    def run(inputs_BI: NDArray[np.float32]) -> object:
        with torch.inference_mode():
            return layers(torch.from_numpy(inputs_BI), len(inputs_BI))

    return _with_threads(run, threads)


def _with_threads(call: Callable[[Any], object], threads: int) -> Callable[[Any], object]:
    torch = import_torch()

    def run(given: Any) -> object:
        before = torch.get_num_threads()
        if before != threads:
            torch.set_num_threads(threads)
        return call(given)

    return run
