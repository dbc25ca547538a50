"""A plan bound to a GPU: a recorded graph for each form of batch, replayed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from recsmith.kernels.cuda.device import Device, Memory
from recsmith.spec import Batch, IdRangeError, InputError, Jagged, Looked, Model, Plan, Prediction

from ..closing import Closing
from .computed import ComputedTables, Live
from .forms import Block, Form, Purpose, form_of
from .launches import Lookups, Output
from .lending import DeviceArray, DeviceLooked, Loan
from .prediction import DlrmOnGpu
from .recording import DriverRecorder, Lane, Recorder, Step, Steps
from .scratch import GraphScratch
from .slots import IN_FLIGHT, Recorded, Slots
from .tables import PlacedTables
from .torch_side import TorchSide

MOST_LENT = 8
"""Results of one form that may be in use on the GPU at a time."""

DensePart = Callable[[], tuple[DlrmOnGpu, TorchSide]]
"""Makes the dense part when the first prediction is asked for: look-ups need no torch."""


class CudaExecutable(Closing):
    """Looks ids up and predicts on a GPU. Safe from several threads: two batches of a form pass through at a time.

    The first batch of a form (samples up to an eighth, type of ids, power of two of their number) is recorded as a
    graph, which takes milliseconds, and seconds where its kernels are compiled for the first time.
    """

    def __init__(
        self,
        model: Model,
        plan: Plan,
        device: Device,
        tables: PlacedTables,
        lookups: Lookups,
        dense: DensePart,
        computed: ComputedTables | None = None,
    ) -> None:
        self.model = model
        self._computed = computed
        # Whose ids pass through the blocks: features with two vectors are two features there.
        self._seen = model if computed is None else computed.served
        self._plan, self._device, self._tables, self._lookups = plan, device, tables, lookups
        self._weighted = any(feature.weighted for feature in model.features)
        self._unpooled = {f.name: model.table_of(f).dim for f in model.features if f.pooling == "none"}
        self._make_dense = dense
        self._dense: tuple[DlrmOnGpu, TorchSide] | None = None
        self._driver = DriverRecorder(device)
        self._lanes: dict[tuple[Purpose, int], Lane] = {}
        self._slots = Slots(device, self._record)

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

    @property
    def forms(self) -> int:
        """Forms of batches that have graphs."""
        return self._slots.forms

    def lookup(self, ids: Jagged, out: NDArray[np.float32] | None = None) -> Looked:
        """The look-up's output, on the host.

        Args:
            ids: the ids of all features.
            out: [B, width] float32 to write to.

        Raises:
            InputError: arrays, offsets or lengths are wrong.
            IdRangeError: an id lies outside its table and the feature's policy is `error`.
        """
        form, ids = self._formed(ids, "lookup")
        shape = (ids.batch, self.model.width)
        if out is not None and (out.shape != shape or out.dtype != np.float32):
            raise InputError(
                "lookup",
                f"out is {out.dtype} {list(out.shape)}, wanted float32 {list(shape)}",
                "Pass such an array, or none.",
            )
        if ids.batch == 0:
            empty = {name: np.empty((0, dim), np.float32) for name, dim in self._unpooled.items()}
            return Looked(np.empty(shape, np.float32) if out is None else out, empty, 0)
        with self._taken(form) as recorded:
            self._start(recorded, ids)
            self._device.synchronize(recorded.lane.stream)
            replaced = self._judged(recorded.block, ids)
            pooled = np.empty(shape, np.float32) if out is None else out
            pooled[:] = recorded.block.vectors(ids.batch)
            return Looked(pooled, self._sequences(recorded.block, ids), replaced)

    def lookup_on_device(self, ids: Jagged, stream: int = 0) -> DeviceLooked:
        """The look-up's output, left on the GPU, complete when the call returns.

        The arrays lie in memory that a later look-up uses again once nobody refers to them; eight results of one form
        may be in use at a time.

        Args:
            stream: handle of the stream in which the vectors will be read: torch's default one is 0, others are
                `torch.cuda.current_stream().cuda_stream`.

        Raises:
            InputError: arrays, offsets or lengths are wrong, or too many results are still in use.
            IdRangeError: an id lies outside its table and the feature's policy is `error`.
        """
        form, ids = self._formed(ids, "lend")
        if ids.batch == 0:
            empty = {name: DeviceArray(0, (0, dim)) for name, dim in self._unpooled.items()}
            return DeviceLooked(DeviceArray(0, (0, self.model.width)), empty)
        recorded = self._slots.take(form, wait=False, most=MOST_LENT)
        if recorded is None:
            raise InputError(
                "lookup", f"{MOST_LENT} results of batches of {form.batch} are still in use", "Let go of some."
            )
        loan = Loan(self._slots, recorded, self._device, stream)
        self._start(recorded, ids)
        self._device.synchronize(recorded.lane.stream)
        replaced, block = self._judged(recorded.block, ids), recorded.block
        start = block.device.address
        sequences = {
            name: DeviceArray(start + block.sequences[name], (count, self._unpooled[name]), loan)
            for name, count in self._counts(ids).items()
        }
        return DeviceLooked(DeviceArray(start + block.pooled, (ids.batch, self.model.width), loan), sequences, replaced)

    def run(self, batch: Batch) -> Prediction:
        """The model's output for the batch.

        Raises:
            InputError: as `lookup`; or the model is no DLRM, or the dense inputs are missing or misshapen.
            IdRangeError: as `lookup`.
            UnavailableError: torch has no CUDA.
        """
        return next(self.stream((batch,)))

    def stream(self, batches: Iterable[Batch]) -> Iterator[Prediction]:
        """The model's output for each batch, in order; while one is computed the next is staged and copied.

        Raises:
            InputError, IdRangeError, UnavailableError: as `run`, for the batch at fault when it is its turn.
        """
        flying: deque[tuple[Recorded | None, Jagged]] = deque()
        try:
            for batch in batches:
                while len(flying) >= IN_FLIGHT:
                    yield self._landed(*flying.popleft())
                if batch.sparse.batch:
                    form, ids = self._form(batch)
                    # Never wait for a graph while holding one: another stream may hold the one that is waited for.
                    while (recorded := self._slots.take(form, wait=not flying)) is None:
                        yield self._landed(*flying.popleft())
                    flying.append((recorded, ids))
                    self._start(recorded, ids, batch.dense)
                else:
                    flying.append((None, batch.sparse))
            while flying:
                yield self._landed(*flying.popleft())
        finally:
            for left, _ in flying:
                if left is not None:
                    self._device.synchronize(left.lane.stream)
                    self._slots.give(left)

    def close(self) -> None:
        """Give back graphs and memory; calls under way finish first."""
        self._device.activate()
        self._slots.close()
        self._tables.close()
        if self._computed is not None:
            self._computed.close()

    @contextmanager
    def _taken(self, form: Form) -> Iterator[Recorded]:
        recorded = self._slots.take(form)
        assert recorded is not None
        try:
            yield recorded
        finally:
            self._slots.give(recorded)

    def _formed(self, ids: Jagged, purpose: Purpose) -> tuple[Form, Jagged]:
        """The form of a batch, and its ids as they go over."""
        form = form_of(ids, len(self.model.features), weighted=self._weighted, purpose=purpose)
        if self._computed is None or self._seen.features == self.model.features:
            return form, ids
        ids = self._computed.extended(ids)
        return form_of(ids, len(self._seen.features), weighted=self._weighted, purpose=purpose), ids

    def _form(self, batch: Batch) -> tuple[Form, Jagged]:
        """The form of a batch to be predicted, whose dense inputs are as they should be, and its ids."""
        formed = self._formed(batch.sparse, "predict")
        wanted = (batch.sparse.batch, self.model.dense_inputs)
        if self.model.bottom is not None and (batch.dense is None or batch.dense.shape != wanted):
            found = "none" if batch.dense is None else str(list(batch.dense.shape))
            raise InputError("run", f"dense inputs are {found}, wanted {list(wanted)}", "Pass both.")
        return formed

    def _start(self, recorded: Recorded, ids: Jagged, dense: NDArray[np.float32] | None = None) -> None:
        self._device.activate()
        if recorded.after:
            self._device.wait(recorded.lane.stream, recorded.after)
            recorded.after = 0
        recorded.block.fill(ids, dense)
        recorded.graph.launch(recorded.lane.stream)

    def _landed(self, recorded: Recorded | None, ids: Jagged) -> Prediction:
        """The prediction of a batch that was started, once it is there."""
        part, _ = self._dense_part()
        if recorded is None:
            return Prediction(np.empty(0 if part.outputs == 1 else (0, part.outputs), np.float32))
        try:
            self._device.synchronize(recorded.lane.stream)
            replaced = self._judged(recorded.block, ids)
            values = recorded.block.predictions(ids.batch).copy()
        finally:
            self._slots.give(recorded)
        return Prediction(values[:, 0] if part.outputs == 1 else values, replaced)

    def _dense_part(self) -> tuple[DlrmOnGpu, TorchSide]:
        if self._dense is None:
            self._dense = self._make_dense()
        return self._dense

    def _record(self, form: Form, number: int) -> Recorded:
        """The number-th graph of a form; those of one number share a lane."""
        self._device.activate()
        memories: list[Memory] = []
        recorder: Recorder = self._driver
        part = None
        if form.purpose == "predict":
            part, recorder = self._dense_part()
        block = Block(self._device, form, self._seen, self._unpooled, 0 if part is None else part.outputs)
        lookups, computing = self._lookups, Live({}, [])
        if self._computed is not None:
            computing = self._computed.live(form, block.ids(), memories)
            lookups = replace(lookups, tables={**lookups.tables, **computing.rows})
        if part is not None:
            steps = part.steps(block, self._plan.bucket(form.batch), lookups, computing.steps, memories)
        else:
            steps = self._looking_up(block, lookups, computing.steps, memories)
        lane = self._lanes.get((form.purpose, number))
        if lane is None:
            lane = self._lanes[form.purpose, number] = recorder.lane()
        return Recorded(block, recorder.record(lane, steps), lane, tuple(memories))

    def _looking_up(self, block: Block, lookups: Lookups, computing: Sequence[Step], memories: list[Memory]) -> Steps:
        start, device = block.device.address, self._device
        sequences = {name: start + at for name, at in block.sequences.items()}
        output = Output(start + block.pooled, 4 * self.model.width, "fp32", sequences)

        bucket, scratch = self._plan.bucket(block.form.batch), GraphScratch(device, memories)
        launches = lookups.launches(bucket, block.ids(), output, scratch)
        for launch in launches:
            # Compiled and loaded before recording begins, during which that is not allowed.
            device.function(launch.program)

        def run(stream: int) -> None:
            block.upload(device, stream)
            for step in computing:
                step(stream)
            for launch in launches:
                device.run(launch, stream)
            if block.form.purpose == "lend":
                block.download_faults(device, stream)
            else:
                block.download(device, stream)

        return Steps(((run,),))

    def _judged(self, block: Block, ids: Jagged) -> int:
        """How many ids were replaced.

        Raises:
            IdRangeError: one is outside its table under policy `error`.
        """
        position, replaced = block.found(ids.batch)
        if position is None:
            return replaced
        at = _feature_of(position, ids)
        feature = self.model.features[at] if self._computed is None else self._computed.source(at)
        table = self.model.table_of(feature)
        raise IdRangeError(
            "lookup",
            f"id {int(ids.values[position])} of feature '{feature.name}' (value {position}) lies outside table "
            f"'{table.name}' of {table.rows} rows",
            "Correct the id, or set the feature's out_of_range policy to clamp, wrap or default.",
        )

    def _sequences(self, block: Block, ids: Jagged) -> dict[str, NDArray[np.float32]]:
        return {name: block.sequence(name, count).copy() for name, count in self._counts(ids).items()}

    def _counts(self, ids: Jagged) -> dict[str, int]:
        """Feature without pooling to its number of ids."""
        found = {}
        for at, feature in enumerate(self._seen.features):
            if feature.name in self._unpooled:
                low, high = at * ids.batch, (at + 1) * ids.batch
                found[feature.name] = high - low if ids.offsets is None else int(ids.offsets[high] - ids.offsets[low])
        return found


def _feature_of(position: int, ids: Jagged) -> int:
    """The feature whose bag holds value number `position`."""
    if ids.offsets is None:
        return position // ids.batch
    return (int(np.searchsorted(ids.offsets, position, side="right")) - 1) // ids.batch
