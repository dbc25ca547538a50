"""What computing costs on this machine: rows of computed tables and MLPs, timed as they are served (ours).

Whole computations are timed; seconds of their parts, which add up, are found by least squares of relative errors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsmith.cost.arithmetic import PARTS, parts_of_mlp, parts_of_rows
from recsmith.representations import build
from recsmith.representations.dhe import settled
from recsmith.spec import Arithmetic, Computed, Dhe, Mlp, Progress, QuotientRemainder, Table
from recsmith.spec.arithmetic import Precision
from recsmith.spec.model import Activation

Compute = Callable[[NDArray[Any]], object]
RowsOf = Callable[[Table, Mapping[str, NDArray[Any]], Precision, int], Compute]
"""Table, its parameters, number format, threads -> what computes the rows of ids [U]."""
MlpOf = Callable[[Mlp, int], Compute]
"""An MLP of any weights, threads -> what runs it on inputs [B, I]."""
Computes = tuple[RowsOf, MlpOf]

_DIM, _ROWS = 16, 1 << 17
_DHES = (
    (Dhe(k=1024, hidden=(512, 256)), (2048, 320, 40, 1)),
    (Dhe(k=640, hidden=(320, 160)), (1024, 96)),
    (Dhe(k=256, hidden=(128, 64)), (2048, 320, 8)),
    (Dhe(k=1024, hidden=()), (2048, 320)),
    (Dhe(k=64, hidden=(512, 256)), (2048, 320)),
)
_PICKED = ((QuotientRemainder(4), (2048, 320)),)
_MLPS = (((13, 512, 256, 64, 16), (1, 16, 128, 1024)), ((367, 512, 256, 1), (1, 16, 128, 1024)))
_WARM_UPS, _RUNS, _SECONDS = 3, 15, 0.08
_SWEEPS = 2000


@dataclass(frozen=True, slots=True)
class Computation:
    """One computation and what it took.

    Attributes:
        parts: of `PARTS`, how many there are, shared out among the cores where they can be.
    """

    parts: Mapping[str, float]
    seconds: float


def arithmetic(
    cores: Sequence[int], rows_of: RowsOf, mlp_of: MlpOf, progress: Progress | None = None
) -> tuple[Arithmetic, ...]:
    """What each part costs in fp32 and bf16 with each number of `cores` at work; a few seconds."""
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    todo = [(count, precision) for count in cores for precision in precisions]
    found = []
    for at, (count, precision) in enumerate(todo):
        if progress:
            progress("computing", at, len(todo))
        found.append(fitted(precision, count, list(computations(precision, count, rows_of, mlp_of))))
    if progress:
        progress("computing", len(todo), len(todo))
    return tuple(found)


def computations(precision: Precision, cores: int, rows_of: RowsOf, mlp_of: MlpOf) -> Iterator[Computation]:
    """Rows of DHEs and of quotient-remainder tables, and MLPs, timed."""
    draw = np.random.default_rng(0)
    computed: tuple[tuple[Computed, tuple[int, ...]], ...] = (*_DHES, *_PICKED)
    for choice, counts in computed:
        made = settled(choice, _ROWS) if isinstance(choice, Dhe) else choice
        table = Table("t", _ROWS, _DIM, computed=made)
        call = rows_of(table, build(table, 0), precision, cores)
        for count in counts:
            ids_U = draw.choice(_ROWS, count, replace=False)
            yield Computation(parts_of_rows(table, count, cores), timed(call, ids_U))
    for widths, batches in _MLPS if precision == "fp32" else ():
        activations: list[Activation] = ["relu"] * (len(widths) - 1)
        mlp = Mlp(widths, tuple(activations), "mlp")
        run = mlp_of(mlp, cores)
        for batch in batches:
            inputs_BI = draw.random((batch, widths[0]), np.float32)
            yield Computation(parts_of_mlp(widths, batch, cores), timed(run, inputs_BI))


def fitted(precision: Precision, cores: int, done: Sequence[Computation]) -> Arithmetic:
    """The seconds of each part, none below zero, with which the relative errors' squares add up to least."""
    shares_TP = np.array([[each.parts.get(name, 0.0) / each.seconds for name in PARTS] for each in done])
    scale_P = np.maximum(np.sqrt(np.square(shares_TP).sum(axis=0)), 1e-30)
    x_TP, found_P = shares_TP / scale_P, np.zeros(len(PARTS))
    gram_PP, wanted_P = x_TP.T @ x_TP, x_TP.sum(axis=0)
    for _ in range(_SWEEPS):
        for p in range(len(PARTS)):
            if gram_PP[p, p]:
                found_P[p] = max(0.0, found_P[p] + (wanted_P[p] - gram_PP[p] @ found_P) / gram_PP[p, p])
    hash_s, flop_s, decoder_layer_s, mlp_layer_s, pick_s = map(float, found_P / scale_P)
    return Arithmetic(precision, cores, hash_s, flop_s, decoder_layer_s, mlp_layer_s, pick_s)


def timed(call: Compute, given: NDArray[Any]) -> float:
    """Median seconds of a call, warm."""
    for _ in range(_WARM_UPS):
        call(given)
    seconds: list[float] = []
    while len(seconds) < 3 or (len(seconds) < _RUNS and sum(seconds) < _SECONDS):
        start = time.perf_counter()
        call(given)
        seconds.append(time.perf_counter() - start)
    return median(seconds)
