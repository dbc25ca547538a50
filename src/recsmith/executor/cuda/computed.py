"""Tables whose rows a GPU computes: each different id of a batch once, then the look-up goes over what was computed.

Rows of all computed tables of a batch lie in one memory, numbered by where their ids lie in one hash table. F features,
L ids in all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from recsmith.kernels.cuda.call import Ids, OutputType, StoredRows, Vectors, best_stride
from recsmith.kernels.cuda.device import Device, Memory
from recsmith.kernels.cuda.distinct import Noted, distinct, packed_kept, slots_for
from recsmith.kernels.cuda.hashed import HashedRows, Products, capability, decode, group_rows, packed_decoder
from recsmith.kernels.cuda.program import Launch
from recsmith.representations import served
from recsmith.spec import DecoderPrecision, Dhe, Feature, Jagged, Model, Serving, Table, UnavailableError, Weights

from ..hot_ids import hot_ids
from .forms import Form, Sizes
from .recording import Step

_ROWS_AT_A_TIME = 1 << 16


class ComputedTables:
    """The computed tables of a model, and how a plan wants them served.

    Args:
        model: with computed tables, or features that have two vectors.
        dtype: of computed rows.
        profile: table name to distinct ids, most asked first; needed for tables of which the plan keeps rows.
        grouped: capabilities that say where products of warp groups are to be taken, see `hashed.GROUPED`.

    Raises:
        UnavailableError: there is no kernel for how a table is computed or served.
        PlanError: a profile is missing or wrong.
    """

    def __init__(
        self,
        device: Device,
        model: Model,
        weights: Weights,
        ways: Sequence[Serving],
        dtype: OutputType,
        profile: Mapping[str, NDArray[np.int64]] | None = None,
        grouped: frozenset[str] = frozenset(),
    ) -> None:
        self._grouped = grouped
        self._device, self._model, self._dtype = device, model, dtype
        self._ways = {way.table: way for way in ways}
        tables = [table for table in model.tables if table.computed is not None]
        self._decoders = {table.name: self._decoder(table, weights) for table in tables}
        self._live = [table for table in tables if self._ways[table.name].way != "materialise"]
        self.stride_bytes = max((best_stride(table.dim, dtype) for table in self._live), default=0)
        """Between rows of tables that are computed when they are asked for, which lie in one memory."""
        self.served = served(model, ways)
        self.finished = {t.name: self._finished(t) for t in tables if t not in self._live}
        """Rows of tables that were computed beforehand, by name: where, and their memory."""
        hot = [(t, hot_ids(t, self._ways[t.name], (profile or {}).get(t.name))) for t in self._live]
        self.kept = {table.name: self._kept(table, ids) for table, ids in hot if len(ids)}
        """Rows of hot ids, by name of their table."""
        self._sources = [*model.features, *(f for f in model.features if f.beside is not None)]

    @property
    def stored(self) -> Model:
        """The tables that are stored."""
        return replace(self._model, tables=tuple(t for t in self._model.tables if t.computed is None))

    def source(self, at: int) -> Feature:
        """The model's feature that feature `at` of the served model stands for."""
        return self._sources[at]

    def extended(self, ids: Jagged) -> Jagged:
        """The ids of the served model's features: those of features with two vectors once more, at the end."""
        again = [at for at, feature in enumerate(self._model.features) if feature.beside is not None]
        if not again:
            return ids
        batch, offsets = ids.batch, ids.offsets
        cuts = [at * batch for at in range(len(self._model.features) + 1)]
        bounds = cuts if offsets is None else [int(offsets[cut]) for cut in cuts]
        parts = [slice(bounds[at], bounds[at + 1]) for at in again]
        values = np.concatenate([ids.values, *(ids.values[part] for part in parts)])
        weights = None if ids.weights is None else np.concatenate([ids.weights, *(ids.weights[p] for p in parts)])
        if offsets is None:
            return Jagged(values, None, batch, weights)
        ends: list[NDArray[Any]] = [offsets]
        end = bounds[-1]
        for at in again:
            ends.append(offsets[cuts[at] + 1 : cuts[at + 1] + 1] - offsets[cuts[at]] + end)
            end += bounds[at + 1] - bounds[at]
        return Jagged(values, np.concatenate(ends), batch, weights)

    def live(self, form: Form, ids: Ids, memories: list[Memory]) -> Live:
        """Where rows of batches of `form` will lie, and the steps that compute them.

        Args:
            memories: takes what has to be kept as long as the steps.
        """
        if not self._live:
            return Live({}, [])
        return _Making(self, form, ids, memories).live()

    def close(self) -> None:
        """Give memory back."""
        for memory in self._decoders.values():
            memory.close()
        for _, memory in self.finished.values():
            memory.close()
        for kept in self.kept.values():
            kept.close()

    @property
    def device(self) -> Device:
        """The GPU."""
        return self._device

    @property
    def live_tables(self) -> Sequence[Table]:
        """Tables whose rows are computed when they are asked for."""
        return self._live

    @property
    def dtype(self) -> OutputType:
        """Of computed rows."""
        return self._dtype

    def decoder(self, table: Table) -> int:
        """Address of a table's parameters."""
        return self._decoders[table.name].address

    def precision(self, table: Table) -> DecoderPrecision:
        """What a table's decoder multiplies in."""
        return self._ways[table.name].precision

    def decoding(self, dhe: Dhe, dim: int, rows: Sequence[HashedRows], precision: DecoderPrecision) -> Launch:
        """The launch that computes `rows`."""
        return decode(
            dhe, dim, rows, operand=precision, output=self._dtype, products=self._products(dhe, dim, precision)
        )

    def readers(self, table: Table) -> list[tuple[int, Feature]]:
        """The features of the served model that read `table`: number, and the feature as the model has it."""
        return [
            (at, self._sources[at]) for at, feature in enumerate(self.served.features) if feature.table == table.name
        ]

    def _decoder(self, table: Table, weights: Weights) -> Memory:
        way = self._ways[table.name]
        if not isinstance(table.computed, Dhe) or way.way == "centroids":
            kind = type(table.computed).__name__
            problem = f"table '{table.name}' ({kind}, to be served by '{way.way}') has no CUDA kernel"
            raise UnavailableError(
                "compile",
                problem,
                "Serve DHE by 'compute', 'cache' or 'materialise'; finish others: recsmith convert --to table.",
            )
        if self._products(table.computed, table.dim, way.precision) == "mma" and way.precision == "fp8":
            problem = f"table '{table.name}' is to be computed in fp8, by products that were not found right and faster"
            remedy = "Measure the GPU (recsmith measure --platform cuda; H100 or H200), or plan in bf16."
            raise UnavailableError("compile", problem, remedy)
        return self._device.place(packed_decoder(table.computed, weights.of(table.name), table.dim, way.precision))

    def _products(self, dhe: Dhe, dim: int, precision: DecoderPrecision) -> Products:
        """By warp groups where the platform says so."""
        return "wgmma" if capability(precision, group_rows(dhe, dim, precision)) in self._grouped else "mma"

    def _finished(self, table: Table) -> tuple[StoredRows, Memory]:
        """All rows of a table, computed now."""
        stride = best_stride(table.dim, self._dtype)
        memory = self._device.allocate(table.rows * stride)
        self._compute(table, np.arange(table.rows, dtype=np.int64), memory.address, stride)
        return StoredRows(memory.address, table.rows, table.dim, self._dtype, stride), memory

    def _kept(self, table: Table, ids: NDArray[np.int64]) -> Kept:
        """Rows of some ids, computed now, behind one of zeros."""
        stride = self.stride_bytes
        rows, places = self._device.allocate((len(ids) + 1) * stride), packed_kept(ids)
        self._device.fill(rows.address, stride, 0)
        self._compute(table, ids, rows.address + stride, stride)
        return Kept(len(ids), rows, self._device.place(places), len(places))

    def _compute(self, table: Table, ids: NDArray[np.int64], out: int, stride: int) -> None:
        """Write rows of `ids` one behind the other."""
        dhe = table.computed
        assert isinstance(dhe, Dhe)
        for start in range(0, len(ids), _ROWS_AT_A_TIME):
            own = ids[start : start + _ROWS_AT_A_TIME]
            placed = self._device.place(own)
            to = out + start * stride
            one = HashedRows(placed.address, len(own), self.decoder(table), to, stride, dhe.prime, dhe.buckets)
            self._device.run(self.decoding(dhe, table.dim, [one], self.precision(table)))
            self._device.synchronize()
            placed.close()


@dataclass(frozen=True, slots=True)
class Kept:
    """Finished rows of hot ids.

    Attributes:
        count: of ids.
        rows: number 0 is zeros, then each id's.
        places: finds an id's row, see `distinct.packed_kept`.
        slots: of `places`.
    """

    count: int
    rows: Memory
    places: Memory
    slots: int

    def close(self) -> None:
        """Give memory back."""
        self.rows.close()
        self.places.close()


@dataclass(frozen=True, slots=True)
class Live:
    """Rows that are computed for a batch.

    Attributes:
        rows: table name to where they lie, numbered as the steps number them.
        steps: compute them, once the ids are on the GPU.
    """

    rows: Mapping[str, StoredRows]
    steps: Sequence[Step]


class _Making:
    """The memory and launches for one form of batch."""

    def __init__(self, tables: ComputedTables, form: Form, ids: Ids, memories: list[Memory]) -> None:
        self._tables, self._ids, self._device = tables, ids, tables.device
        self._readers = {table.name: tables.readers(table) for table in tables.live_tables}
        # Jagged ids may all be one table's.
        each = form.batch if form.offset is None else form.room
        total = sum(map(len, self._readers.values())) * form.batch if form.offset is None else form.room
        self._slots = slots_for(total)
        self._most = {
            t.name: min(t.rows, each * (len(self._readers[t.name]) if form.offset is None else 1))
            for t in tables.live_tables
        }
        self._stride = tables.stride_bytes
        sizes = Sizes()
        self._keys = sizes.add(8 * self._slots)
        self._counts = sizes.add(4 * len(tables.live_tables))
        self._zeroed = sizes.total
        self._listed = {name: (sizes.add(8 * most), sizes.add(4 * most)) for name, most in self._most.items()}
        self._rows = sizes.add((self._slots + 1) * self._stride)
        memory = self._device.allocate(sizes.total)
        memories.append(memory)
        self._start = memory.address

    def live(self) -> Live:
        """Where the rows lie and how they are made."""
        tables = self._tables.live_tables
        rows = {table.name: self._found(table) for table in tables}
        noting = distinct(
            [one for at, table in enumerate(tables) for one in self._noted(at, table)],
            self._ids,
            self._start + self._keys,
            self._slots,
            self._start + self._counts,
        )
        launches = (noting, *self._decoding())
        for launch in launches:
            # Compiled and loaded before recording begins, during which that is not allowed.
            self._device.function(launch.program)

        def run(stream: int) -> None:
            self._device.fill(self._start, self._zeroed, 0, stream)
            for launch in launches:
                self._device.run(launch, stream)

        return Live(rows, [run])

    def _found(self, table: Table) -> StoredRows:
        """Where look-ups find a table's rows: finished ones first, if there are any, then those that are computed."""
        dtype, stride, start = self._tables.dtype, self._stride, self._start + self._rows
        kept = self._tables.kept.get(table.name)
        if kept is None:
            return StoredRows(start, self._slots + 1, table.dim, dtype, stride)
        near = kept.count + 1
        return StoredRows(kept.rows.address, near + self._slots, table.dim, dtype, stride, near, start + stride)

    def _noted(self, at: int, table: Table) -> list[Noted]:
        ids, numbers = (self._start + place for place in self._listed[table.name])
        kept = self._tables.kept.get(table.name)
        of_kept = (kept.places.address, kept.slots, kept.count + 1) if kept else (0, 0, 1)
        found = []
        for number, feature in self._readers[table.name]:
            # Of the rows only their number counts: which ids are outside.
            vectors = Vectors(
                rows=StoredRows(0, table.rows, table.dim, "fp32", 0),
                number=number,
                out=0,
                out_stride_bytes=0,
                padding_id=feature.padding_id,
                policy="modulo" if feature.id_map.kind == "modulo" else feature.id_map.out_of_range,
                default_row=feature.id_map.default_row,
            )
            found.append(Noted(vectors, at, ids, numbers, *of_kept))
        return found

    def _decoding(self) -> list[Launch]:
        """One launch for all tables that differ in no more than a launch allows."""
        alike: dict[tuple[Dhe, int, DecoderPrecision], list[HashedRows]] = defaultdict(list)
        for at, table in enumerate(self._tables.live_tables):
            dhe = table.computed
            assert isinstance(dhe, Dhe)
            ids, numbers = (self._start + place for place in self._listed[table.name])
            key = replace(dhe, prime=1, buckets=1, seed=0, draw=0), table.dim, self._tables.precision(table)
            alike[key].append(
                HashedRows(
                    ids=ids,
                    count=self._most[table.name],
                    parameters=self._tables.decoder(table),
                    out=self._start + self._rows,
                    out_stride_bytes=self._stride,
                    prime=dhe.prime,
                    buckets=dhe.buckets,
                    counted=self._start + self._counts + 4 * at,
                    numbers=numbers,
                )
            )
        return [self._tables.decoding(dhe, dim, rows, precision) for (dhe, dim, precision), rows in alike.items()]
