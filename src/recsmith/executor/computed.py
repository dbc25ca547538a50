"""Models with computed tables: rows that a batch asks for are finished first, then the look-up goes over all tables.

Each distinct id of a batch is computed once. B samples, F features, L ids.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

import recsmith._native as _native
from recsmith.kernels.cpu import choose_target
from recsmith.representations import served
from recsmith.spec import (
    Batch,
    Interacted,
    Jagged,
    Looked,
    Model,
    Plan,
    PlanError,
    Platform,
    Prediction,
    Serving,
    Table,
    Weights,
)

from .binding import compile
from .centroids import SAMPLE, CentroidRows
from .closing import Closing
from .cpu import CpuExecutable
from .hot_ids import hot_ids
from .ids import FeatureIds, parts_of
from .rows import DheRows, RowMaker, row_maker

Profile = Mapping[str, NDArray[np.int64]]


def compile_computed(
    model: Model, plan: Plan, weights: Weights, *, platform: Platform, profile: Profile | None = None, **options: Any
) -> ComputedExecutable:
    """An executable of a model with computed tables, hybrid features or both.

    Args:
        profile: table name to distinct ids, most asked first; the first `hot` of them are
            finished now and kept. Needed for tables that the plan caches. Centroids are of those that follow.
        options: as for `compile`.

    Raises:
        PlanError: the plan says nothing about a computed table, or a profile is missing or too short.
        ForeignPlanError, UnavailableError, FormatError, CapacityError: as `compile`.
    """
    ways = {way.table: way for way in plan.serving}
    missing = [table.name for table in model.tables if table.computed is not None and table.name not in ways]
    if missing:
        raise PlanError("compile", f"the plan does not say how table '{missing[0]}' is served", "Make it again.")
    target = choose_target(str(options.get("isa", "auto")))
    stores = {
        table.name: _Store(table, weights, ways[table.name], target, (profile or {}).get(table.name))
        for table in model.tables
        if table.computed is not None
    }
    arrays = dict(weights.tables) | {name: store.rows for name, store in stores.items()}
    slots = frozenset(name for name, store in stores.items() if store.way.way != "materialise")
    inner = compile(
        served(model, plan.serving),
        plan,
        Weights(arrays, weights.dense, weights.files),
        platform=platform,
        live=slots,
        **options,
    )
    return ComputedExecutable(model, inner, {name: stores[name] for name in slots})


class _Store:
    """The slots of one computed table: padding, hot ids, then what a batch asks for."""

    def __init__(
        self, table: Table, weights: Weights, way: Serving, target: str, hot: NDArray[np.int64] | None
    ) -> None:
        self.table = table
        self.way = way
        self._maker: RowMaker = row_maker(table, weights.of(table.name), target, way.precision)
        if way.way == "materialise":
            self.rows = np.empty((table.rows, table.dim), np.float32)
            self._maker.write(np.arange(table.rows), self.rows)
            return
        # Memory is taken page by page as slots are used: as many as the largest batch has distinct ids.
        self.rows = np.empty((table.rows + 1, table.dim), np.float32)
        self.rows[0] = 0
        kept = hot_ids(table, way, hot)
        self._slots = _native.Slots(kept, 1)
        self._first = 1 + len(kept)
        self._maker.write(kept, self.rows[1 : self._first])
        if way.way == "centroids":
            self._maker = self._centroids(hot)
        self.asked = self.hits = self.computed = 0

    def resolve(self, ids_L: NDArray[np.int64]) -> NDArray[np.int64]:
        """The slots of `ids_L`; rows that were not finished are now."""
        slots_L, missing_L = np.empty_like(ids_L), np.empty_like(ids_L)
        count, hits = self._slots.resolve(ids_L, self._first, slots_L, missing_L)
        self._maker.write(missing_L[:count], self.rows[self._first : self._first + count])
        self.asked, self.hits, self.computed = self.asked + len(ids_L), self.hits + hits, self.computed + count
        return slots_L

    def _centroids(self, profile: NDArray[np.int64] | None) -> CentroidRows:
        """Clusters of the ids that the profile names after those whose rows are kept; of any ids without such."""
        assert isinstance(self._maker, DheRows)
        ids_S = (np.empty(0) if profile is None else profile)[self.way.hot :][:SAMPLE]
        if not len(ids_S):
            draw = np.random.default_rng(0)
            ids_S = draw.choice(self.table.rows, min(SAMPLE, self.table.rows), replace=False)
        return CentroidRows(self._maker, np.ascontiguousarray(ids_S, np.int64), self.way.centroids)


class ComputedExecutable(Closing):
    """Looks ids up and predicts, as `CpuExecutable`; calls from several threads take turns.

    Attributes:
        model: as given, not the one that strategies see.
    """

    def __init__(self, model: Model, inner: CpuExecutable, stores: Mapping[str, _Store]) -> None:
        self.model = model
        self._inner = inner
        self._stores = stores
        self._lock = threading.Lock()
        self._features = [FeatureIds(feature, model.table_of(feature)) for feature in model.features]
        second = [replace(f, table=f.beside) for f in model.features if f.beside is not None]
        numbers = {feature.name: at for at, feature in enumerate(model.features)}
        self._order = [(at, feature.table) for at, feature in enumerate(model.features)]
        self._order += [(numbers[feature.name], feature.table) for feature in second]

    @property
    def isa(self) -> str:
        """The instruction set whose kernels run."""
        return self._inner.isa

    @property
    def threads(self) -> int:
        """Threads that look up, the caller's included; torch's own compute rows."""
        return self._inner.threads

    @property
    def table_bytes(self) -> int:
        """Bytes of tables copied into the arena, slots of computed tables not included."""
        return self._inner.table_bytes

    @property
    def huge_bytes(self) -> int:
        """Bytes of tables that really are on huge pages."""
        return self._inner.huge_bytes

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """Per table that is computed or cached: ids asked for, ids found among the hot ones, rows computed."""
        return {name: (store.asked, store.hits, store.computed) for name, store in self._stores.items()}

    def lookup(self, ids: Jagged, out: NDArray[np.float32] | None = None) -> Looked:
        """As `CpuExecutable.lookup`; second vectors follow the first ones of all features."""
        with self._lock:
            resolved, replaced = self._resolve(ids)
            looked = self._inner.lookup(resolved, out)
        return Looked(looked.pooled, looked.sequences, looked.replaced + replaced)

    def interact(
        self, ids: Jagged, bottom: NDArray[np.float32] | None, out: NDArray[np.float32] | None = None
    ) -> Interacted:
        """As `CpuExecutable.interact`."""
        with self._lock:
            resolved, replaced = self._resolve(ids)
            found = self._inner.interact(resolved, bottom, out)
        return Interacted(found.values, found.replaced + replaced)

    def run(self, batch: Batch) -> Prediction:
        """As `CpuExecutable.run`."""
        with self._lock:
            resolved, replaced = self._resolve(batch.sparse)
            found = self._inner.run(Batch(resolved, batch.dense))
        return Prediction(found.values, found.replaced + replaced)

    def close(self) -> None:
        """Give back threads and memory; calls under way finish first."""
        with self._lock:
            self._inner.close()

    def _resolve(self, ids: Jagged) -> tuple[Jagged, int]:
        """The ids as the served model wants them: slots for computed tables, second vectors' ids at the end."""
        parts = parts_of(ids, len(self.model.features))
        values, offsets, weights, replaced, end = [], [], [], 0, 0
        for at, table in self._order:
            own = parts.values[at]
            if table in self._stores:
                own, count = self._features[at].inside(own)
                replaced += count
                own = self._slots(at, table, own)
            values.append(own)
            if parts.starts is not None:
                offsets.append(parts.starts[at] + end)
            if parts.weights is not None:
                weights.append(parts.weights[at])
            end += len(own)
        joined = None if parts.starts is None else np.concatenate([*offsets, np.array([end])])
        return Jagged(
            np.concatenate(values), joined, ids.batch, np.concatenate(weights) if parts.weights is not None else None
        ), replaced

    def _slots(self, at: int, table: str, ids_L: NDArray[np.int64]) -> NDArray[np.int64]:
        padding = self.model.features[at].padding_id
        if padding is None:
            return self._stores[table].resolve(ids_L)
        real = ids_L != padding
        slots_L = np.zeros_like(ids_L)
        slots_L[real] = self._stores[table].resolve(np.ascontiguousarray(ids_L[real]))
        return slots_L
