"""The form of a batch: everything that a recorded graph is bound to, and the memory such batches pass through.

One block on either side holds, in this order: dense inputs, offsets, values, weights, the two words for faults,
results. So a batch goes over in one copy, or in two where the bottom MLP need not wait for the ids, and results come
back in one.

Batches are padded to one of few sizes, with id 0 or empty bags, so that few graphs come up. B samples, P samples with
padding, F features, L ids in all, D dense inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recsmith.kernels.cuda.call import Ids, IndexType
from recsmith.kernels.cuda.device import Device, Memory
from recsmith.spec import InputError, Jagged, Model

ALIGN_BYTES = 256
DENSE_COLUMNS = 8
"""Dense inputs are padded to a multiple of it, as tensor cores want them."""
_FEWEST_IDS = 256
_NO_FAULT = 2**64 - 1
_INDEX: dict[str, IndexType] = {"int32": "int32", "int64": "int64"}

Purpose = Literal["lookup", "lend", "predict"]
"""Vectors for the host, vectors that stay, or predictions."""


@dataclass(frozen=True, slots=True)
class Form:
    """What batches of one graph share.

    Attributes:
        batch: samples with padding, P.
        room: ids that there is room for.
        offset: type of the offsets; None when every bag holds one id.
    """

    batch: int
    room: int
    index: IndexType
    offset: IndexType | None
    weighted: bool
    purpose: Purpose = "lookup"


def padded(batch: int) -> int:
    """`batch` or up to an eighth more: eight sizes between powers of two."""
    step = max(1, 1 << max(0, batch.bit_length() - 4))
    return -(-batch // step) * step


def form_of(ids: Jagged, features: int, *, weighted: bool, purpose: Purpose = "lookup") -> Form:
    """The form of a batch; room for jagged ids is a power of two, so that few forms come up.

    Args:
        weighted: whether a feature of the model is.

    Raises:
        InputError: an array has a wrong type or length, or offsets are none.
    """
    _check_lengths(ids, features, weighted=weighted)
    index, batch = _index_type(ids.values, "ids"), padded(ids.batch)
    if ids.offsets is None:
        return Form(batch, features * batch, index, None, weighted, purpose)
    room = max(_FEWEST_IDS, 1 << (len(ids.values) - 1).bit_length() if len(ids.values) else 0)
    return Form(batch, room, index, _index_type(ids.offsets, "offsets"), weighted, purpose)


class Block:
    """The two blocks of a form, on the host and on the GPU, and where things lie in them.

    Args:
        sequences: dims of the features without pooling, by name; there is room for as many vectors as ids.
        outputs: of a prediction, a sample.
    """

    def __init__(self, device: Device, form: Form, model: Model, sequences: dict[str, int], outputs: int = 0) -> None:
        self.form = form
        self._sizes = Sizes()
        self._features, self._width, self._outputs = len(model.features), model.width, outputs
        self._dense_inputs = model.dense_inputs if form.purpose == "predict" else 0
        self.dense_columns = -(-self._dense_inputs // DENSE_COLUMNS) * DENSE_COLUMNS
        self.dense = self._sizes.add(4 * form.batch * self.dense_columns)
        self.offsets = self._sizes.add(
            0 if form.offset is None else (self._features * form.batch + 1) * _bytes(form.offset)
        )
        self.values = self._sizes.add(form.room * _bytes(form.index))
        self.weights = self._sizes.add(4 * form.room if form.weighted else 0)
        self.faults = self._sizes.add(16)
        self.input_bytes = self.faults + 16
        looked = form.purpose != "predict"
        self.pooled = self._sizes.add(4 * form.batch * model.width if looked else 0)
        self.sequences = {name: self._sizes.add(4 * form.room * dim) for name, dim in sequences.items() if looked}
        self.predicted = self._sizes.add(4 * form.batch * outputs)
        self.nbytes = self._sizes.total
        self.host: Memory = device.pinned(self.nbytes)
        self.device: Memory = device.allocate(self.nbytes)
        # Recording runs a batch of zeros: ids inside every table, empty bags.
        self._part(0, self.nbytes, "uint8")[:] = 0
        self._dims = sequences

    def fill(self, ids: Jagged, dense: NDArray[np.float32] | None = None) -> None:
        """Put a batch into the host's block."""
        form = self.form
        self._fill_values(self._part(self.values, form.room, form.index), ids.values, ids)
        if form.offset is not None:
            self._fill_offsets(self._part(self.offsets, self._features * form.batch + 1, form.offset), ids)
        if form.weighted:
            assert ids.weights is not None
            self._fill_values(self._part(self.weights, form.room, "float32"), ids.weights, ids)
        if dense is not None and self._dense_inputs:
            inputs = self._part(self.dense, form.batch * self.dense_columns, "float32").reshape(form.batch, -1)
            inputs[: len(dense), : self._dense_inputs] = dense
        self._part(self.faults, 2, "uint64")[:] = (_NO_FAULT, 0)

    def ids(self) -> Ids:
        """The ids as kernels are told of them."""
        start, form = self.device.address, self.form
        return Ids(
            values=start + self.values,
            batch=form.batch,
            index=form.index,
            offsets=0 if form.offset is None else start + self.offsets,
            offset=form.offset or "int64",
            weights=start + self.weights if form.weighted else 0,
            faults=start + self.faults,
            length=0 if form.offset is None else form.room,
        )

    def found(self, batch: int) -> tuple[int | None, int]:
        """Position of the first id that is an error, if any, in a batch of `batch`; and how many ids were replaced."""
        position, replaced = (int(word) for word in self._part(self.faults, 2, "uint64"))
        if position == _NO_FAULT:
            return None, replaced
        if self.form.offset is None:
            position = position // self.form.batch * batch + position % self.form.batch
        return position, replaced

    def vectors(self, batch: int) -> NDArray[np.float32]:
        """[B, width] as they came back; the next batch writes over them."""
        return self._part(self.pooled, batch * self._width, "float32").reshape(batch, self._width)

    def sequence(self, name: str, count: int) -> NDArray[np.float32]:
        """[count, dim] of a feature without pooling."""
        dim = self._dims[name]
        return self._part(self.sequences[name], count * dim, "float32").reshape(count, dim)

    def predictions(self, batch: int) -> NDArray[np.float32]:
        """[B, outputs] as they came back; the next batch writes over them."""
        return self._part(self.predicted, batch * self._outputs, "float32").reshape(batch, self._outputs)

    def upload(self, device: Device, stream: int) -> None:
        """The whole batch to the GPU."""
        device.upload(self.device.address, self._part(0, self.input_bytes, "uint8"), stream)

    def upload_dense(self, device: Device, stream: int) -> None:
        """The dense inputs to the GPU."""
        device.upload(self.device.address, self._part(0, self.offsets, "uint8"), stream)

    def upload_ids(self, device: Device, stream: int) -> None:
        """Everything but the dense inputs to the GPU."""
        ids = self._part(self.offsets, self.input_bytes - self.offsets, "uint8")
        device.upload(self.device.address + self.offsets, ids, stream)

    def download(self, device: Device, stream: int) -> None:
        """Faults and results back."""
        self._fetch(device, stream, self.nbytes - self.faults)

    def download_faults(self, device: Device, stream: int) -> None:
        """Faults back; results stay."""
        self._fetch(device, stream, 16)

    def close(self) -> None:
        """Give both blocks back."""
        self.host.close()
        self.device.close()

    def _fetch(self, device: Device, stream: int, nbytes: int) -> None:
        device.download(self._part(self.faults, nbytes, "uint8"), self.device.address + self.faults, stream)

    def _fill_values(self, target: NDArray[Any], values: NDArray[Any], ids: Jagged) -> None:
        if self.form.offset is not None or ids.batch == self.form.batch:
            target[: len(values)] = values
            return
        target_FP = target.reshape(self._features, self.form.batch)
        target_FP[:, : ids.batch] = values.reshape(self._features, ids.batch)
        target_FP[:, ids.batch :] = 0

    def _fill_offsets(self, target: NDArray[Any], ids: Jagged) -> None:
        """Padding is empty bags at the end of each feature."""
        assert ids.offsets is not None
        target_FP = target[:-1].reshape(self._features, self.form.batch)
        target_FP[:, : ids.batch] = ids.offsets[:-1].reshape(self._features, ids.batch)
        target_FP[:, ids.batch :] = ids.offsets[ids.batch :: ids.batch][:, None]
        target[-1] = ids.offsets[-1]

    def _part(self, start: int, count: int, dtype: str) -> NDArray[Any]:
        flat: NDArray[Any] = self.host.array((self.nbytes,), "uint8")
        return flat[start : start + count * np.dtype(dtype).itemsize].view(dtype)


class Sizes:
    """Parts one after the other, each aligned."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, nbytes: int) -> int:
        """Where a part of `nbytes` begins."""
        start = self.total
        self.total = -(-(start + nbytes) // ALIGN_BYTES) * ALIGN_BYTES
        return start


def _bytes(dtype: IndexType) -> int:
    return 4 if dtype == "int32" else 8


def _index_type(array: NDArray[Any], what: str) -> IndexType:
    found = _INDEX.get(str(array.dtype))
    if found is None:
        raise InputError("lookup", f"{what} are {array.dtype}", "Pass int64 or int32.")
    return found


def _check_lengths(ids: Jagged, features: int, *, weighted: bool) -> None:
    length, bags = len(ids.values), features * ids.batch
    if ids.offsets is None:
        if length != bags:
            raise InputError("lookup", f"{length} ids without offsets, wanted {bags}", "Pass offsets [F*B + 1].")
    else:
        if len(ids.offsets) != bags + 1:
            raise InputError("lookup", f"{len(ids.offsets)} offsets, wanted {bags + 1}", "Pass offsets [F*B + 1].")
        if ids.offsets[0] != 0 or ids.offsets[-1] != length:
            raise InputError(
                "lookup",
                f"offsets go from {ids.offsets[0]} to {ids.offsets[-1]} for {length} values",
                "Start at 0 and end at the number of values.",
            )
        falls = np.flatnonzero(np.diff(ids.offsets) < 0)
        if len(falls):
            raise InputError("lookup", f"offsets fall after offset {int(falls[0])}", "Offsets must not fall.")
    if ids.weights is not None and len(ids.weights) != length:
        raise InputError("lookup", f"{len(ids.weights)} weights for {length} values", "Pass one weight an id.")
    if weighted and ids.weights is None:
        raise InputError("lookup", "a feature is weighted and there are no weights", "Pass float32 weights, one an id.")
