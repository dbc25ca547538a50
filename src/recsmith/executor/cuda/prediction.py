"""A whole DLRM as the steps of one graph: bottom MLP beside the copy of the ids, look-up and interaction, top MLP.

P samples with padding, E dim, I columns of the top MLP's input, W width of all vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recsmith.kernels.cuda.call import ELEMENT_BYTES, Ids, StoredRows, Vectors
from recsmith.kernels.cuda.device import Device, Memory
from recsmith.kernels.cuda.interaction import interact, pairs
from recsmith.kernels.cuda.program import Launch
from recsmith.spec import Bucket, InputError, Model, Weights

from .forms import DENSE_COLUMNS, Block, Sizes
from .launches import Lookups, Output
from .mlp import GpuMlp
from .recording import Step, Steps
from .scratch import GraphScratch
from .torch_side import ELEMENT, Precision, TorchSide


class DlrmOnGpu:
    """What a DLRM's graphs are made of.

    Args:
        side: torch on the GPU.
        precision: of MLPs and products.

    Raises:
        InputError: the model is no DLRM, or weights are missing.
    """

    def __init__(self, model: Model, weights: Weights, device: Device, side: TorchSide, precision: Precision) -> None:
        if model.interaction is None or model.top is None:
            found = "an exported dense part" if model.graph is not None else "no dense part"
            raise InputError(
                "run",
                f"model '{model.name}' has {found}, which is not run on a GPU",
                "Call lookup_on_device and go on in torch.",
            )
        self._model, self._device, self._side = model, device, side
        self._dtype = ELEMENT[precision]
        self._element = ELEMENT_BYTES[self._dtype]
        # As the other executors read a model without a bottom MLP: there is nothing to multiply with.
        self._dot = model.interaction.kind == "dot" and model.bottom is not None
        self._first = 0 if model.bottom is None else model.bottom.widths[-1]
        self._columns = _up(self._first + (self._products() if self._dot else model.width))
        dense = _up(model.dense_inputs)
        self._bottom = None if model.bottom is None else GpuMlp(side, model.bottom, weights, self._dtype, dense)
        self._top = GpuMlp(side, model.top, weights, self._dtype, self._columns)
        self.outputs = self._top.outputs

    def steps(
        self, block: Block, bucket: Bucket, lookups: Lookups, computing: Sequence[Step], words: list[Memory]
    ) -> Steps:
        """The steps for batches that pass through `block`.

        Args:
            computing: what finishes rows once the ids are on the GPU.
            words: takes the memory that they need and that has to be kept with them.
        """
        room = _Room(self._device, block.form.batch, self, words)
        joined = self._side.tensor(room.joined, (block.form.batch, self._columns), self._dtype)
        predicted = self._side.tensor(block.device.address + block.predicted, (block.form.batch, self.outputs), "fp32")
        apart, launches = self._looked(block.ids(), bucket, lookups, room, words)
        for launch in (*apart, *launches):
            # Compiled and loaded before recording begins, during which that is not allowed.
            self._device.function(launch.program)
        ids: list[Step] = [lambda stream: block.upload_ids(self._device, stream), *computing, *self._run(apart)]
        dense = self._dense_steps(block, joined, room)
        return Steps(
            (tuple(ids), dense) if dense else (tuple(ids),),
            (
                *self._run(launches),
                lambda _: self._top(joined, predicted),
                lambda stream: block.download(self._device, stream),
            ),
        )

    @property
    def columns(self) -> int:
        """Of the top MLP's input with padding."""
        return self._columns

    @property
    def first(self) -> int:
        """Outputs of the bottom MLP; 0 without one."""
        return self._first

    @property
    def element(self) -> int:
        """Bytes of an element of vectors and MLPs."""
        return self._element

    @property
    def width(self) -> int:
        """W."""
        return self._model.width

    def _products(self) -> int:
        kind = self._model.interaction
        return pairs(len(self._model.pooled) + 1, self_terms=kind is not None and kind.self_terms)

    def _dense_steps(self, block: Block, joined: Any, room: _Room) -> tuple[Step, ...]:
        bottom, batch = self._bottom, block.form.batch
        if bottom is None:
            return ()
        inputs = self._side.tensor(block.device.address + block.dense, (batch, block.dense_columns), "fp32")
        out = self._side.tensor(room.bottom, (batch, self._first), self._dtype) if self._dot else joined
        return (
            lambda stream: block.upload_dense(self._device, stream),
            lambda _: bottom(inputs, out[:, : self._first]),
        )

    def _looked(
        self, ids: Ids, bucket: Bucket, lookups: Lookups, room: _Room, words: list[Memory]
    ) -> tuple[Sequence[Launch], Sequence[Launch]]:
        """Launches that need no output of the bottom MLP, and those that do."""
        scratch = GraphScratch(self._device, words)
        out = Output(room.joined, self._columns * self._element, self._dtype)
        if not self._dot:
            behind = Output(out.address + self._first * self._element, out.stride_bytes, self._dtype)
            return lookups.launches(bucket, ids, behind, scratch), ()
        bottom = StoredRows(room.bottom, ids.batch, self._first, self._dtype, self._first * self._element)
        if all(placement.strategy == "gm" for stage in bucket.stages for placement in stage.placements):
            return (), (lookups.joined(ids, bottom, out, operand=self._dtype, columns=self._columns),)
        written = Output(room.written(), self._model.width * self._element, self._dtype)
        return lookups.launches(bucket, ids, written, scratch), (self._multiplied(ids, bottom, written, out),)

    def _multiplied(self, ids: Ids, bottom: StoredRows, written: Output, out: Output) -> Launch:
        """The launch that multiplies vectors which were written before."""
        found = [Vectors(bottom, 0, 0, 0, "identity")]
        for name, column in self._model.columns.items():
            table = self._model.table_of(next(f for f in self._model.features if f.name == name))
            address = written.address + column * self._element
            rows = StoredRows(address, ids.batch, table.dim, self._dtype, written.stride_bytes)
            found.append(Vectors(rows, 0, 0, 0, "identity"))
        kind = self._model.interaction
        assert kind is not None
        return interact(
            found,
            ids,
            out.address,
            out.stride_bytes,
            output=self._dtype,
            operand=self._dtype,
            self_terms=kind.self_terms,
            columns=self._columns,
        )

    def _run(self, launches: Sequence[Launch]) -> list[Step]:
        return [lambda stream, launch=launch: self._device.run(launch, stream) for launch in launches]  # type: ignore[misc]


class _Room:
    """Memory that a graph's steps pass on to each other."""

    def __init__(self, device: Device, batch: int, part: DlrmOnGpu, words: list[Memory]) -> None:
        self._device, self._words = device, words
        sizes = Sizes()
        joined = sizes.add(batch * part.columns * part.element)
        bottom = sizes.add(batch * part.first * part.element)
        start = self._take(sizes.total)
        self.joined, self.bottom = start + joined, start + bottom
        self._written_bytes = batch * part.width * part.element

    def written(self) -> int:
        """Where all vectors of a batch may be written, [P, W]."""
        return self._take(self._written_bytes)

    def _take(self, nbytes: int) -> int:
        memory = self._device.allocate(nbytes)
        # Columns of padding are never written, and must not be slow numbers.
        self._device.fill(memory.address, max(nbytes, 1), 0)
        self._device.synchronize()
        self._words.append(memory)
        return memory.address


def _up(columns: int) -> int:
    return -(-columns // DENSE_COLUMNS) * DENSE_COLUMNS
