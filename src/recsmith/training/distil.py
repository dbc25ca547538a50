"""A table's rows taught to a DHE (ours).

The mean square of differences, over ids as often as they are asked for, goes down by Adam with a rate that falls to
zero along a cosine. Legend: M rows, E dim, L ids of a step.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray

from recsmith.reference.computed import kept_weights
from recsmith.representations import build
from recsmith.spec import Dhe, Progress, Table

from .layers import DheRows

RATE = 2e-3
BATCH = 1024
# Of ids drawn from a profile so many are drawn from all rows instead: the profile's future holds ids that it does not.
_ANY = 0.1


def distil(
    table: Table,
    rows_ME: NDArray[np.float32],
    *,
    steps: int,
    asked: NDArray[np.int64] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, NDArray[Any]]:
    """Parameters of the DHE `table` with which its rows come near `rows_ME`; the same for the same seed and threads.

    Args:
        asked: recorded ids, drawn from as they are; every row alike without them.
    """
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    dhe = table.computed
    assert isinstance(dhe, Dhe)
    taught = replace(table, computed=replace(dhe, dtype="fp32"))
    module = DheRows(taught, _first(taught, rows_ME, seed))
    wanted_ME, spread = torch.from_numpy(rows_ME), max(float(rows_ME.var(axis=0).mean()), 1e-30)
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: 0.5 + 0.5 * math.cos(math.pi * at / steps))
    for step in range(steps):
        ids_L = torch.from_numpy(_drawn(table, asked, draw))
        loss = (module.rows(ids_L) - wanted_ME[ids_L]).square().mean() / spread
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(f"distilling {table.name}", step + 1, steps)
    module.eval()
    return kept_weights(dhe, module.arrays())


def relative_error(
    found_ME: NDArray[np.float32], wanted_ME: NDArray[np.float32], asked: NDArray[np.int64] | None = None
) -> float:
    """Root mean square of the differences over that of the rows' distances from their mean.

    0: the same rows. 1: no better than the mean row for every id.

    Args:
        asked: recorded ids, which count as often as they occur; every row counts once without them.
    """
    ids = slice(None) if asked is None else asked
    wanted, found = wanted_ME[ids].astype(np.float64), found_ME[ids]
    around = np.square(wanted - wanted.mean(axis=0)).mean()
    return float(np.sqrt(np.square(found - wanted).mean() / around)) if around else 0.0


def _first(table: Table, rows_ME: NDArray[np.float32], seed: int) -> dict[str, NDArray[Any]]:
    """Untrained parameters; a DHE that ends without an activation starts at the mean row."""
    found = build(table, seed)
    assert isinstance(table.computed, Dhe)
    if table.computed.last_activation == "none" and not table.computed.batch_norm:
        found[f"{len(table.computed.hidden)}.bias"] = rows_ME.mean(axis=0)
    return found


def _drawn(table: Table, asked: NDArray[np.int64] | None, draw: np.random.Generator) -> NDArray[np.int64]:
    any_L = draw.integers(0, table.rows, BATCH)
    if asked is None or not len(asked):
        return any_L
    return np.where(draw.random(BATCH) < _ANY, any_L, asked[draw.integers(0, len(asked), BATCH)])
