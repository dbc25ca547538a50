"""Synthetic ids, drawn in bulk.

Legend: B samples a batch, N batches, L ids, F features, R ranks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import (
    Access,
    Distribution,
    Fixed,
    InputError,
    Jagged,
    Model,
    Progress,
    Trace,
    Uniform,
    Workload,
    Zipf,
)

from . import traces

Lengths = Literal["exact", "poisson"]
_InverseCdf = Callable[[NDArray[np.float64]], NDArray[np.float64] | NDArray[np.int64]]

# Ids drawn at a time, so that the intermediate floats stay in a private cache.
_CHUNK = 1 << 15


def batches(
    model: Model,
    workload: Workload,
    count: int,
    seed: int = 0,
    *,
    lengths: Lengths = "exact",
    progress: Progress | None = None,
) -> list[Jagged]:
    """`count` batches of ids (row numbers, int64) as `workload` describes, the same for the same seed.

    Offsets are None when every bag holds one id. Batches are views of one array when bag lengths do not vary.
    Features that follow a trace get the trace's samples in order, starting over at its end, with its bag lengths.

    Args:
        lengths: `exact`: bags hold the pooling factor (rounded up or down so that the mean is right);
            `poisson`: lengths vary with that mean.
        progress: told how many features are done.

    Raises:
        InputError: the workload leaves a feature out, or a trace asks for rows that a table lacks.
    """
    recorded = _recorded(model, workload)
    total = count * workload.batch
    drawn = []
    for at, feature in enumerate(model.features):
        access = workload.access(feature.name)
        rng = np.random.Generator(np.random.SFC64([seed, at]))
        if feature.name in recorded:
            drawn.append(_replay(recorded[feature.name], total, model.table_of(feature).rows, feature.name))
        else:
            drawn.append(_draw(access, model.table_of(feature).rows, total, rng, lengths))
        if progress:
            progress("drawing ids", at + 1, len(model.features))
    return _assemble(drawn, workload.batch, count)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """One feature's ids for all samples; every bag holds `each` ids, or bags are as `lengths_S` says."""

    values_L: NDArray[np.int64]
    each: int
    lengths_S: NDArray[np.int64] | None


def _draw(access: Access, rows: int, samples: int, rng: np.random.Generator, lengths: Lengths) -> _Drawn:
    factor = access.pooling_factor
    if lengths == "exact" and factor == int(factor):
        return _Drawn(ids(access.ids, rows, samples * int(factor), rng), int(factor), None)
    if lengths == "exact":
        ends = np.floor(np.arange(samples + 1) * factor).astype(np.int64)
        lengths_S = np.diff(ends)
    else:
        lengths_S = rng.poisson(factor, samples)
    return _Drawn(ids(access.ids, rows, int(lengths_S.sum()), rng), 0, lengths_S)


def ids(law: Distribution, rows: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """[count] row numbers in [0, rows) that follow `law`.

    Raises:
        InputError: `law` is a trace, which is replayed and not drawn from.
    """
    match law:
        case Uniform():
            return _chunked(count, rng, lambda u_L: np.multiply(u_L, rows, out=u_L))
        case Fixed():
            return np.full(count, rows // 2, dtype=np.int64)
        case Zipf(alpha=alpha):
            return _chunked(count, rng, lambda u_L: scatter(_zipf_ranks(rows, alpha, u_L), rows))
        case Trace(file=file):
            raise InputError("ids", f"ids of the trace '{file}' are replayed, not drawn", "Use `batches`.")


def _chunked(count: int, rng: np.random.Generator, inverse_cdf: _InverseCdf) -> NDArray[np.int64]:
    """[count] draws: `inverse_cdf` of uniform numbers in [0, 1), cut to whole numbers."""
    drawn_L = np.empty(count, dtype=np.int64)
    for start in range(0, count, _CHUNK):
        part_L = drawn_L[start : start + _CHUNK]
        part_L[:] = inverse_cdf(rng.random(len(part_L)))
    return drawn_L


def _zipf_ranks(rows: int, alpha: float, u_L: NDArray[np.float64]) -> NDArray[np.int64]:
    """Ranks in [0, rows): floor of the inverse CDF of the density x ** -alpha on [1, rows + 1), less one.

    x = (1 - u * c) ** (1 / (1 - alpha)), c = 1 - (rows + 1) ** (1 - alpha); for alpha = 1, x = (rows + 1) ** u.
    Written with log1p and expm1 so that it stays exact close to alpha = 1.
    """
    span = math.log(rows + 1)
    if abs(1 - alpha) < 1e-9:
        u_L *= span
    else:
        u_L *= math.expm1((1 - alpha) * span)
        np.log1p(u_L, out=u_L)
        u_L /= 1 - alpha
    np.exp(u_L, out=u_L)
    ranks_L = u_L.astype(np.int64)
    ranks_L -= 1
    return np.clip(ranks_L, 0, rows - 1, out=ranks_L)


def scatter(ranks_L: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """The row of each rank: an affine bijection on [0, rows) that sends neighbouring ranks far apart.

    The same for all features and seeds, as popular rows stay popular.
    """
    step = scatter_step(rows)
    scaled_L = ranks_L * step
    scaled_L += rows // 3
    # Quotient and product are several times faster than the remainder of 64-bit integers.
    scaled_L -= (scaled_L // rows) * rows
    return scaled_L


def scatter_step(rows: int) -> int:
    """The bijection's factor: the number next to the golden section of `rows` that has no divisor in common with it."""
    step = max(1, round(rows * 0.6180339887498949))
    while math.gcd(step, rows) != 1:
        step += 1
    return step


def _recorded(model: Model, workload: Workload) -> Mapping[str, traces.Column]:
    wanted: dict[str, list[str]] = {}
    for feature in model.features:
        law = workload.access(feature.name).ids
        if isinstance(law, Trace):
            wanted.setdefault(law.file, []).append(feature.name)
    return {name: column for file, names in wanted.items() for name, column in traces.read(file, names).items()}


def _replay(column: traces.Column, samples: int, rows: int, feature: str) -> _Drawn:
    if not column.samples:
        raise InputError("ids", f"the trace of feature '{feature}' holds no samples", "Record some.")
    if len(column.values) and (column.values.min() < 0 or column.values.max() >= rows):
        raise InputError(
            "ids",
            f"the trace asks feature '{feature}' for rows {column.values.min()} to {column.values.max()}; "
            f"its table has {rows}",
            "Record row numbers of this model, or give it more rows.",
        )
    picked_S = np.arange(samples) % column.samples
    if column.offsets is None:
        return _Drawn(column.values[picked_S], 1, None)
    lengths_S = np.diff(column.offsets)[picked_S]
    starts_S = column.offsets[picked_S]
    within_L = np.arange(int(lengths_S.sum())) - np.repeat(np.cumsum(lengths_S) - lengths_S, lengths_S)
    return _Drawn(column.values[np.repeat(starts_S, lengths_S) + within_L], 0, lengths_S)


def _assemble(drawn: list[_Drawn], batch: int, count: int) -> list[Jagged]:
    if all(part.lengths_S is None for part in drawn):
        return _assemble_regular(drawn, batch, count)
    lengths = [
        np.full(batch * count, part.each, dtype=np.int64) if part.lengths_S is None else part.lengths_S
        for part in drawn
    ]
    starts = [np.concatenate([[0], np.cumsum(part)]) for part in lengths]
    found = []
    for n in range(count):
        low, high = n * batch, (n + 1) * batch
        values_L = np.concatenate(
            [part.values_L[start[low] : start[high]] for part, start in zip(drawn, starts, strict=True)]
        )
        lengths_FB = np.concatenate([part[low:high] for part in lengths])
        found.append(Jagged(values_L, np.concatenate([[0], np.cumsum(lengths_FB)]), batch))
    return found


def _assemble_regular(drawn: list[_Drawn], batch: int, count: int) -> list[Jagged]:
    widths = [part.each * batch for part in drawn]
    pool_NL = np.empty((count, sum(widths)), dtype=np.int64)
    start = 0
    for part, width in zip(drawn, widths, strict=True):
        pool_NL[:, start : start + width] = part.values_L.reshape(count, width)
        start += width
    offsets = None
    if any(part.each != 1 for part in drawn):
        lengths_FB = np.repeat([part.each for part in drawn], batch)
        offsets = np.concatenate([[0], np.cumsum(lengths_FB)]).astype(np.int64)
    return [Jagged(values_L, offsets, batch) for values_L in pool_NL]
