"""The form of a batch: everything that a recorded graph is bound to, and the memory such batches pass through.

One block on either side holds, in this order: offsets, values, weights, the two words for faults, vectors. So a batch
goes over in one copy and its vectors come back in one.

B samples, F features, L ids in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsmith.kernels.cuda.call import Ids, IndexType
from recsmith.kernels.cuda.device import Device, Memory
from recsmith.spec import InputError, Jagged, Model

ALIGN_BYTES = 256
_FEWEST_IDS = 256
_NO_FAULT = 2**64 - 1
_INDEX: dict[str, IndexType] = {"int32": "int32", "int64": "int64"}


@dataclass(frozen=True, slots=True)
class Form:
    """What batches of one graph share.

    Attributes:
        room: ids that there is room for.
        offset: type of the offsets; None when every bag holds one id.
    """

    batch: int
    room: int
    index: IndexType
    offset: IndexType | None
    weighted: bool


def form_of(ids: Jagged, features: int, *, weighted: bool) -> Form:
    """The form of a batch; room for jagged ids is a power of two, so that few forms come up.

    Args:
        weighted: whether a feature of the model is.

    Raises:
        InputError: an array has a wrong type or length, or offsets are none.
    """
    _check_lengths(ids, features, weighted=weighted)
    index = _index_type(ids.values, "ids")
    if ids.offsets is None:
        return Form(ids.batch, len(ids.values), index, None, weighted)
    room = max(_FEWEST_IDS, 1 << (len(ids.values) - 1).bit_length() if len(ids.values) else 0)
    return Form(ids.batch, room, index, _index_type(ids.offsets, "offsets"), weighted)


class Block:
    """The two blocks of a form, on the host and on the GPU, and where things lie in them.

    Args:
        sequences: dims of the features without pooling, by name; there is room for as many vectors as ids.
    """

    def __init__(self, device: Device, form: Form, model: Model, sequences: dict[str, int]) -> None:
        self.form = form
        self._sizes = _Sizes()
        features = len(model.features)
        self.offsets = self._sizes.add(0 if form.offset is None else (features * form.batch + 1) * _bytes(form.offset))
        self.values = self._sizes.add(form.room * _bytes(form.index))
        self.weights = self._sizes.add(4 * form.room if form.weighted else 0)
        self.faults = self._sizes.add(16)
        self.input_bytes = self.faults + 16
        self.pooled = self._sizes.add(4 * form.batch * model.width)
        self.sequences = {name: self._sizes.add(4 * form.room * dim) for name, dim in sequences.items()}
        self.nbytes = self._sizes.total
        self.host: Memory = device.pinned(self.nbytes)
        self.device: Memory = device.allocate(self.nbytes)
        self._shape = (form.batch, model.width)
        self._dims = sequences

    def fill(self, ids: Jagged) -> None:
        """Put a batch into the host's block."""
        form = self.form
        self._part(self.values, len(ids.values), form.index)[:] = ids.values
        if form.offset is not None:
            self._part(self.offsets, len(ids.offsets), form.offset)[:] = ids.offsets  # type: ignore[arg-type]
        if form.weighted:
            self._part(self.weights, len(ids.values), "float32")[:] = ids.weights
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

    def found(self) -> tuple[int | None, int]:
        """Position of the first id that is an error, if any, and how many ids were replaced."""
        position, replaced = (int(word) for word in self._part(self.faults, 2, "uint64"))
        return (None if position == _NO_FAULT else position), replaced

    def vectors(self) -> NDArray[np.float32]:
        """[B, width] as they came back; the next batch writes over them."""
        batch, width = self._shape
        return self._part(self.pooled, batch * width, "float32").reshape(batch, width)

    def sequence(self, name: str, count: int) -> NDArray[np.float32]:
        """[count, dim] of a feature without pooling."""
        dim = self._dims[name]
        return self._part(self.sequences[name], count * dim, "float32").reshape(count, dim)

    def upload(self, device: Device, stream: int) -> None:
        """The batch to the GPU."""
        device.upload(self.device.address, self._part(0, self.input_bytes, "uint8"), stream)

    def download(self, device: Device, stream: int) -> None:
        """Faults and vectors back."""
        back = self._part(self.faults, self.nbytes - self.faults, "uint8")
        device.download(back, self.device.address + self.faults, stream)

    def close(self) -> None:
        """Give both blocks back."""
        self.host.close()
        self.device.close()

    def _part(self, start: int, count: int, dtype: str) -> NDArray[Any]:
        flat: NDArray[Any] = self.host.array((self.nbytes,), "uint8")
        return flat[start : start + count * np.dtype(dtype).itemsize].view(dtype)


class _Sizes:
    """Parts one after the other, each aligned."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, nbytes: int) -> int:
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
