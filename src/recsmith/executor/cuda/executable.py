"""A plan bound to a GPU: a recorded graph for each form of batch, replayed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsmith.kernels.cuda.device import Device, Graph, Memory
from recsmith.spec import Batch, IdRangeError, InputError, Jagged, Looked, Model, Plan, Prediction

from ..closing import Closing
from .forms import Block, Form, form_of
from .launches import Lookups, Output
from .tables import PlacedTables

KEPT_FORMS = 32
"""Graphs kept; the one that was used longest ago makes room."""


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A graph and the memory that batches of its form pass through."""

    block: Block
    graph: Graph
    words: tuple[Memory, ...]

    def close(self) -> None:
        """Give the memory back."""
        for memory in self.words:
            memory.close()
        self.block.close()


class CudaExecutable(Closing):
    """Looks ids up on a GPU. One batch at a time: calls from several threads wait for each other.

    The first batch of a form (samples, type of ids, power of two of their number) is recorded as a graph, which takes
    milliseconds, and seconds where its kernels are compiled for the first time.
    """

    def __init__(self, model: Model, plan: Plan, device: Device, tables: PlacedTables, lookups: Lookups) -> None:
        self.model = model
        self._plan, self._device, self._tables, self._lookups = plan, device, tables, lookups
        self._weighted = any(feature.weighted for feature in model.features)
        self._unpooled = {f.name: model.table_of(f).dim for f in model.features if f.pooling == "none"}
        self._recorded: OrderedDict[Form, _Recorded] = OrderedDict()
        self._stream = device.stream()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def isa(self) -> str:
        """What the kernels are compiled for ("sm_90")."""
        return self._device.architecture

    @property
    def table_bytes(self) -> int:
        """Bytes of tables in the GPU's memory, each counted once."""
        return self._tables.device_bytes

    @property
    def host_bytes(self) -> int:
        """Bytes of tables that did not fit there and are read from pinned host memory."""
        return self._tables.host_bytes

    def lookup(self, ids: Jagged, out: NDArray[np.float32] | None = None) -> Looked:
        """The look-up's output, on the host.

        Args:
            ids: the ids of all features.
            out: [B, width] float32 to write to.

        Raises:
            InputError: arrays, offsets or lengths are wrong.
            IdRangeError: an id lies outside its table and the feature's policy is `error`.
        """
        form = form_of(ids, len(self.model.features), weighted=self._weighted)
        shape = (ids.batch, self.model.width)
        if out is not None and (out.shape != shape or out.dtype != np.float32):
            raise InputError("lookup", f"out is {out.dtype} {list(out.shape)}, wanted float32 {list(shape)}", "")
        if ids.batch == 0:
            empty = {name: np.empty((0, dim), np.float32) for name, dim in self._unpooled.items()}
            return Looked(np.empty(shape, np.float32) if out is None else out, empty, 0)
        with self._lock:
            block = self._run(form, ids)
            replaced = self._judged(block, ids)
            pooled = np.empty(shape, np.float32) if out is None else out
            pooled[:] = block.vectors()
            return Looked(pooled, self._sequences(block, ids), replaced)

    def run(self, batch: Batch) -> Prediction:
        """The model's output for the batch.

        Raises:
            InputError: the executable was made for look-ups only.
        """
        raise InputError("run", f"model '{self.model.name}' is bound to a GPU for look-ups", "Call lookup instead.")

    def close(self) -> None:
        """Give back graphs and memory; calls under way finish first."""
        with self._lock:
            self._closed = True
            self._device.synchronize(self._stream)
            for recorded in self._recorded.values():
                recorded.close()
            self._recorded.clear()
            self._tables.close()

    def _run(self, form: Form, ids: Jagged) -> Block:
        if self._closed:
            raise InputError("lookup", "the executable is closed", "Compile the plan again.")
        self._device.activate()
        recorded = self._recorded.get(form)
        if recorded is None:
            recorded = self._record(form)
        self._recorded.move_to_end(form)
        recorded.block.fill(ids)
        recorded.graph.launch(self._stream)
        self._device.synchronize(self._stream)
        return recorded.block

    def _record(self, form: Form) -> _Recorded:
        while len(self._recorded) >= KEPT_FORMS:
            _, oldest = self._recorded.popitem(last=False)
            oldest.close()
        block = Block(self._device, form, self.model, self._unpooled)
        start = block.device.address
        sequences = {name: start + at for name, at in block.sequences.items()}
        output = Output(start + block.pooled, 4 * self.model.width, "fp32", sequences)
        words: list[Memory] = []

        def put(nbytes: bytes) -> int:
            words.append(self._device.place(np.frombuffer(nbytes, np.uint8)))
            return words[-1].address

        launches = self._lookups.launches(self._plan.bucket(form.batch), block.ids(), output, put)
        for launch in launches:
            # Compiled and loaded before recording begins, during which that is not allowed.
            self._device.function(launch.program)
        with self._device.recording(self._stream) as graph:
            block.upload(self._device, self._stream)
            for launch in launches:
                self._device.run(launch, self._stream)
            block.download(self._device, self._stream)
        self._recorded[form] = _Recorded(block, graph, tuple(words))
        return self._recorded[form]

    def _judged(self, block: Block, ids: Jagged) -> int:
        """How many ids were replaced.

        Raises:
            IdRangeError: one is outside its table under policy `error`.
        """
        position, replaced = block.found()
        if position is None:
            return replaced
        feature = self.model.features[_feature_of(position, ids)]
        table = self.model.table_of(feature)
        raise IdRangeError(
            "lookup",
            f"id {int(ids.values[position])} of feature '{feature.name}' (value {position}) lies outside table "
            f"'{table.name}' of {table.rows} rows",
            "Correct the id, or set the feature's out_of_range policy to clamp, wrap or default.",
        )

    def _sequences(self, block: Block, ids: Jagged) -> dict[str, NDArray[np.float32]]:
        found = {}
        for at, feature in enumerate(self.model.features):
            if feature.name in self._unpooled:
                low, high = at * ids.batch, (at + 1) * ids.batch
                count = high - low if ids.offsets is None else int(ids.offsets[high]) - int(ids.offsets[low])
                found[feature.name] = block.sequence(feature.name, count).copy()
        return found


def _feature_of(position: int, ids: Jagged) -> int:
    """The feature whose bag holds value number `position`."""
    if ids.offsets is None:
        return position // ids.batch
    return (int(np.searchsorted(ids.offsets, position, side="right")) - 1) // ids.batch
