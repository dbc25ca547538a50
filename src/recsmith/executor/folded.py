"""A concatenating model whose first top layer is folded into rows (ours); see `representations.folding`.

B samples, O outputs of the layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recsmith.representations.folding import Parts, cut, rest_of
from recsmith.spec import (
    Batch,
    IdRangeError,
    InputError,
    Interacted,
    Jagged,
    Looked,
    Model,
    Plan,
    Platform,
    Prediction,
    Problem,
    Progress,
    UnavailableError,
    Weights,
)
from recsmith.spec.check import check_origin

from .binding import compile
from .closing import Closing
from .cpu import CpuExecutable
from .dense import dense_inputs
from .folded_rows import folded_rows, layer_weights
from .ids import FeatureIds, parts_of
from .linear import import_torch
from .memory import Pages
from .mlp import MlpLayers


def compile_folded(
    model: Model,
    plan: Plan,
    weights: Weights,
    *,
    platform: Platform,
    isa: str = "auto",
    pages: Pages = "huge",
    allow_foreign: bool = False,
    progress: Progress | None = None,
) -> FoldedExecutable:
    """An executable of `plan` that multiplies the rows of folded features with the first top layer now.

    Args:
        plan: of a model that concatenates; it may also fold nothing.
        pages: as of `executor.compile`; folded rows are on huge pages unless it is "4k".
        isa, allow_foreign, progress: as of `executor.compile`.

    Raises:
        PlanError: a feature cannot be folded.
        CapacityError: the tables or the folded rows do not fit in memory.
        ForeignPlanError, UnavailableError, FormatError: as of `executor.compile`.
    """
    check_origin(plan, Problem(model, (), plan.objective, platform), allow_foreign=allow_foreign)
    names = () if plan.fold is None else plan.fold.features
    parts = cut(model, names)
    first = compile(
        parts.rest,
        rest_of(plan, parts.rest),
        weights,
        platform=platform,
        isa=isa,
        pages=pages,
        allow_foreign=allow_foreign,
        progress=progress,
    )
    if parts.sums is None or plan.fold is None:
        return FoldedExecutable(model, parts, weights, first)
    try:
        own: Pages = "4k" if pages == "4k" else "huge"
        rows = folded_rows(model, parts, weights, plan.fold.sums, platform, own, progress)
        second = compile(
            parts.sums,
            plan.fold.sums,
            rows,
            platform=platform,
            isa=isa,
            pages="borrow",
            allow_foreign=allow_foreign,
        )
    except BaseException:
        first.close()
        raise
    return FoldedExecutable(model, parts, weights, first, second)


class FoldedExecutable(Closing):
    """Looks up, concatenates and multiplies what is not folded, and adds the rows that are.

    Attributes:
        names: the features that are folded.
    """

    def __init__(
        self,
        model: Model,
        parts: Parts,
        weights: Weights,
        rest: CpuExecutable,
        sums: CpuExecutable | None = None,
    ) -> None:
        self.model = model
        self.names = () if parts.sums is None else tuple(feature.name for feature in parts.sums.features)
        self._rest, self._sums = rest, sums
        self._folded_bytes = 0 if parts.sums is None else parts.sums.nbytes
        self._torch = import_torch()
        layers = layer_weights(model, weights, self.names)
        self._bottom = None if model.bottom is None else MlpLayers(model.bottom, weights)
        self._first = MlpLayers(parts.first, layers)
        self._after = None if parts.after is None else MlpLayers(parts.after, layers)
        goes = set(self.names)
        self._stays = [at for at, feature in enumerate(model.features) if feature.name not in goes]
        self._goes = [at for at, feature in enumerate(model.features) if feature.name in goes]

    @property
    def isa(self) -> str:
        """The instruction set whose kernels run."""
        return self._rest.isa

    @property
    def threads(self) -> int:
        """Threads that serve large batches, the caller's included; 0 once closed."""
        return self._rest.threads

    @property
    def table_bytes(self) -> int:
        """Bytes of tables copied into the arena, folded ones included."""
        return self._rest.table_bytes + self.folded_bytes

    @property
    def folded_bytes(self) -> int:
        """Bytes of folded rows."""
        return self._folded_bytes

    def lookup(self, ids: Jagged, out: NDArray[np.float32] | None = None) -> Looked:
        """Not possible: the vectors of folded features are stored no more.

        Raises:
            UnavailableError: always.
        """
        raise UnavailableError(
            "lookup",
            f"a plan that folds features of model '{self.model.name}' keeps none of their vectors",
            "Call run, or compile a plan without folded features.",
        )

    def first_layer(self, ids: Jagged, bottom: NDArray[np.float32] | None) -> Interacted:
        """The first top layer's output [B, O], activation included.

        Args:
            ids: the ids of all features.
            bottom: [B, E] float32, the bottom MLP's output; None when the model has no bottom MLP.

        Raises:
            InputError: arrays, offsets or lengths are wrong.
            IdRangeError: an id lies outside its table and the feature's policy is `error`.
        """
        if self._sums is None:
            joined = self._rest.interact(ids, bottom, rest=True)
            return Interacted(self._partial(joined, ids.batch), joined.replaced)
        stays, goes = split(ids, len(self.model.features), (self._stays, self._goes))
        try:
            joined = self._rest.interact(stays, bottom, rest=True)
            partial = self._partial(joined, ids.batch)
            found = self._sums.interact(goes, partial, partial, rest=True)
        except IdRangeError:
            self._refuse(ids)
            raise
        return Interacted(found.values, joined.replaced + found.replaced)

    def run(self, batch: Batch) -> Prediction:
        """The model's output for the batch.

        Raises:
            InputError: as `first_layer`; or the dense inputs are missing or misshapen.
            IdRangeError: as `first_layer`.
        """
        bottom = None
        if self._bottom is not None:
            inputs = dense_inputs(batch.dense, batch.sparse.batch, self.model.dense_inputs)
            with self._torch.inference_mode():
                bottom = self._bottom(self._torch.from_numpy(inputs), len(inputs)).numpy()
        found = self.first_layer(batch.sparse, bottom)
        values = found.values
        if self._after is not None:
            with self._torch.inference_mode():
                values = self._after(self._torch.from_numpy(values), len(values)).numpy()
        return Prediction(values[:, 0] if values.shape[1] == 1 else values, found.replaced)

    def close(self) -> None:
        """Give back threads and memory; calls under way finish first."""
        self._rest.close()
        if self._sums is not None:
            self._sums.close()

    def _partial(self, joined: Interacted, batch: int) -> NDArray[np.float32]:
        """[B, O]: the first layer over what is not folded."""
        with self._torch.inference_mode():
            found: NDArray[np.float32] = self._first(self._torch.from_numpy(joined.values), batch).numpy()
        return found

    def _refuse(self, ids: Jagged) -> None:
        """Name the id that is wrong by its place among all of them."""
        parts = parts_of(ids, len(self.model.features))
        for feature, values in zip(self.model.features, parts.values, strict=True):
            if feature.padding_id is not None:
                values = values[values != feature.padding_id]
            FeatureIds(feature, self.model.table_of(feature)).inside(values)


def split(ids: Jagged, features: int, groups: Sequence[Sequence[int]]) -> list[Jagged]:
    """The ids of each group of features, in the group's order.

    Raises:
        InputError: lengths do not add up, or offsets fall.
    """
    batch = ids.batch
    if ids.offsets is None and ids.weights is None:
        if len(ids.values) != features * batch:
            raise InputError("lookup", f"{len(ids.values)} ids, wanted {features} x {batch}", "Pass offsets [F*B + 1].")
        values_FB = ids.values.reshape(features, batch)
        return [Jagged(values_FB[list(group)].reshape(-1), None, batch) for group in groups]
    parts = parts_of(ids, features)
    return [_joined(parts.values, parts.starts, parts.weights, group, batch) for group in groups]


def _joined(
    values: list[NDArray[np.int64]],
    starts: list[NDArray[np.int64]] | None,
    weights: list[NDArray[np.float32]] | None,
    group: Sequence[int],
    batch: int,
) -> Jagged:
    offsets = None
    if starts is not None:
        ends = np.cumsum([0, *(len(values[f]) for f in group)])
        offsets = np.concatenate([*(starts[f] + end for f, end in zip(group, ends, strict=False)), ends[-1:]])
    scales = None if weights is None else np.concatenate([weights[f] for f in group])
    return Jagged(np.concatenate([values[f] for f in group]), offsets, batch, scales)
