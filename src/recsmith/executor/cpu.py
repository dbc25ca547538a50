"""A plan bound to this machine's CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Batch, InputError, Interacted, Jagged, Looked, Model, Prediction

from .closing import Closing
from .dense import Dense, Dlrm
from .memory import TableMemory


class CpuExecutable(Closing):
    """Looks ids up and predicts. Safe from several threads at once; a context manager.

    Attributes:
        lookup_arrays: the fast path, straight into native code:
            `lookup_arrays(values, offsets=None, weights=None, out=None) -> [B, width]`, arrays as in `Jagged`
            (contiguous; ids and offsets of one integer type). `out` is written to and returned when given. Without
            it the array returned is used again for a later call once nothing refers to it any more. Not for models
            with unpooled features.
        interact_arrays: the same as far as the top MLP's input:
            `interact_arrays(values, offsets=None, weights=None, bottom=None, out=None) -> [B, I]`, see `interact`.
    """

    def __init__(self, model: Model, engine: Any, memory: TableMemory, dense: Dense | Dlrm | None) -> None:
        self.model = model
        self._engine = engine
        self._memory = memory
        self._dense = dense
        self._unpooled = [i for i, feature in enumerate(model.features) if feature.pooling == "none"]
        self.lookup_arrays: Callable[..., NDArray[np.float32]] = engine.lookup
        self.interact_arrays: Callable[..., NDArray[np.float32]] = engine.interact

    @property
    def isa(self) -> str:
        """The instruction set whose kernels run."""
        return str(self._engine.target)

    @property
    def threads(self) -> int:
        """Threads that serve large batches, the caller's included; 0 once closed."""
        return int(self._engine.threads)

    @property
    def table_bytes(self) -> int:
        """Bytes of tables copied into the arena, each counted once."""
        return self._memory.nbytes

    @property
    def huge_bytes(self) -> int:
        """Bytes of tables that really are on huge pages."""
        return self._memory.huge_bytes()

    def lookup(self, ids: Jagged, out: NDArray[np.float32] | None = None) -> Looked:
        """The look-up's output.

        Args:
            ids: the ids of all features.
            out: [B, width] float32 to write to; its columns must be adjacent.

        Raises:
            InputError: arrays, offsets or lengths are wrong. `out` may have been written to in part.
            IdRangeError: an id lies outside its table and the feature's policy is `error`.
        """
        if self._unpooled:
            return self._lookup(ids, out, rest=False)
        # As `_lookup`, spelt out: a batch of one takes half a microsecond, a call in between a fifth of that.
        pooled, replaced = self._engine.run(ids.values, ids.offsets, ids.weights, ids.batch, out, None, False)
        return Looked(pooled, {}, replaced)

    def interact(
        self,
        ids: Jagged,
        bottom: NDArray[np.float32] | None,
        out: NDArray[np.float32] | None = None,
        *,
        rest: bool = False,
    ) -> Interacted:
        """The top MLP's input: the vectors looked up, joined with each other and `bottom` as the model says.

        Where the plan fuses the interaction, blocks of vectors meet in the private cache and are never written out.

        Args:
            ids: the ids of all features.
            bottom: [B, E] float32, the bottom MLP's output; None when the model has no bottom MLP.
            out: [B, I] float32 to write to; its columns must be adjacent. Sums may be written where `bottom` lies.
            rest: let our threads sleep at once, because others compute next.

        Raises:
            InputError: as `lookup`; or the model has no interaction.
            IdRangeError: as `lookup`.
        """
        return self._interact(ids, bottom, out, rest=rest)

    def run(self, batch: Batch) -> Prediction:
        """The model's output for the batch.

        Raises:
            InputError: as `lookup`; or the model has no dense part, or the dense inputs are missing or misshapen.
        """
        if self._dense is None:
            raise InputError("run", f"model '{self.model.name}' has no dense part", "Call lookup instead.")
        if isinstance(self._dense, Dlrm):
            bottom = self._dense.bottom(batch)
            joined = self._interact(batch.sparse, bottom, self._dense.room(batch.sparse.batch), rest=True)
            return Prediction(self._dense.top(joined.values), joined.replaced)
        looked = self._lookup(batch.sparse, self._dense.room(batch.sparse.batch), rest=True)
        return Prediction(self._dense.finish(batch, looked), looked.replaced)

    def close(self) -> None:
        """Give back threads and memory; calls under way finish first."""
        self._engine.close()
        self._memory = TableMemory({}, None, 0)

    def _lookup(self, ids: Jagged, out: NDArray[np.float32] | None, *, rest: bool) -> Looked:
        sequences = self._sequences(ids) if self._unpooled else None
        pooled, replaced = self._engine.run(ids.values, ids.offsets, ids.weights, ids.batch, out, sequences, rest)
        if sequences is None:
            return Looked(pooled, {}, replaced)
        named = {self.model.features[i].name: array for i in self._unpooled if (array := sequences[i]) is not None}
        return Looked(pooled, named, replaced)

    def _interact(
        self, ids: Jagged, bottom: NDArray[np.float32] | None, out: NDArray[np.float32] | None, *, rest: bool
    ) -> Interacted:
        sequences = self._sequences(ids) if self._unpooled else None
        found = self._engine.join(ids.values, ids.offsets, ids.weights, ids.batch, bottom, out, sequences, rest)
        return Interacted(*found)

    def _sequences(self, ids: Jagged) -> list[NDArray[np.float32] | None]:
        """An array for each unpooled feature, as long as the offsets say; that they may say so is checked later."""
        batch, length = ids.batch, len(ids.values)
        arrays: list[NDArray[np.float32] | None] = [None] * len(self.model.features)
        if (length if ids.offsets is None else len(ids.offsets) - 1) != batch * len(arrays):
            return arrays  # to be refused
        for i in self._unpooled:
            count = batch if ids.offsets is None else int(ids.offsets[(i + 1) * batch]) - int(ids.offsets[i * batch])
            feature = self.model.features[i]
            if not 0 <= count <= length:
                raise InputError(
                    "lookup",
                    f"the bags of feature '{feature.name}' hold {count} of {length} values",
                    "Offsets must not fall, and end at the number of values.",
                )
            arrays[i] = np.empty((count, self.model.table_of(feature).dim), np.float32)
        return arrays
