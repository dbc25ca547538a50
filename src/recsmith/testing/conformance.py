"""Checks that every entry of a menu must pass. A plug-in elsewhere is checked by calling these on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsmith.reference import CountingMemory, bag, decode, lookup
from recsmith.spec import Access, Gather, Jagged, RowDtype, RowFormat, Shard, Strategy, Table

from .cases import Case, corner_cases, tolerance

_GATHER = Gather("f", "t", "sum")


def check_strategy(strategy: Strategy) -> None:
    """Return when a strategy's flow is right and its declared work honest.

    The flow agrees with the oracle on every corner case, and reads exactly the bytes that `work` declares
    for as many look-ups, per role.

    Raises:
        AssertionError: says which case, and what was wanted.
    """
    for case in corner_cases():
        feature = case.model.features[0]
        # Flows compute weighted sums; means, padding and unpooled vectors are made of those by the executor.
        if feature.pooling == "sum" and feature.padding_id is None:
            _check_flow(strategy, case)
    dtypes: tuple[RowDtype, ...] = ("fp32", "fp16", "int8", "int4")
    for dtype in dtypes:
        _check_bytes(strategy, Table("t", 700, 24, RowFormat(dtype)), lookups=90)


def agree(case: Case, pooled: NDArray[np.float32], sequences: dict[str, NDArray[np.float32]]) -> None:
    """Return when a look-up's output is the oracle's on `case`.

    Raises:
        AssertionError: names the case, the largest error and the bound.
    """
    wanted_pooled, wanted_sequences = lookup(case.model, case.weights, case.ids)
    _compare(case, "pooled", pooled, wanted_pooled)
    assert sequences.keys() == wanted_sequences.keys(), f"{case}: sequences of {sorted(sequences)}"
    for name, wanted in wanted_sequences.items():
        _compare(case, name, sequences[name], wanted)


def _compare(case: Case, what: str, found: NDArray[np.float32], wanted: NDArray[np.float64]) -> None:
    assert found.shape == wanted.shape, f"{case}: {what} has shape {found.shape}, wanted {wanted.shape}"
    error = float(np.abs(found - wanted).max(initial=0.0))
    bound = tolerance(case, wanted)
    assert error <= bound, f"{case}: {what} is off by {error:.3g}, allowed {bound:.3g}"


def _check_flow(strategy: Strategy, case: Case) -> None:
    table = case.model.tables[0]
    rows = decode(case.weights.tables[table.name], table)
    bags, weights = _bags(case.ids)
    found = strategy.dataflow(_counter(table), rows, bags, weights)
    wanted, _ = lookup(case.model, case.weights, case.ids)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12, err_msg=f"{strategy.name} on {case}")


def _check_bytes(strategy: Strategy, table: Table, lookups: int) -> None:
    draw = np.random.default_rng(1)
    ids = Jagged(draw.integers(0, table.rows, lookups), None, lookups)
    memory = _counter(table)
    bags, weights = _bags(ids)
    rows = draw.normal(size=(table.rows, table.dim))
    strategy.dataflow(memory, rows, bags, weights)
    work = strategy.work(_GATHER, table, Shard(table.name, 0, table.rows), lookups, Access("f"))
    declared = {request.role: request.count * request.row_bytes for request in work.requests}
    streamed = {s.role: s.nbytes for s in work.streams}
    assert declared == memory.gathered_bytes, f"{strategy.name}: declares {declared}, read {memory.gathered_bytes}"
    assert streamed == memory.streamed_bytes, f"{strategy.name}: declares {streamed}, read {memory.streamed_bytes}"


def _bags(ids: Jagged) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float64]]]:
    """The ids and weights of a one-feature batch, bag by bag."""
    slices = [bag(ids, 0, sample) for sample in range(ids.batch)]
    weights = np.ones(len(ids.values)) if ids.weights is None else ids.weights.astype(np.float64)
    return [ids.values[where].astype(np.int64) for where in slices], [weights[where] for where in slices]


def _counter(table: Table) -> CountingMemory:
    return CountingMemory(table.format.row_bytes(table.dim), table.format.stride_bytes(table.dim))
