"""A batch's ids feature by feature, and what happens to those outside a computed table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Feature, IdRangeError, InputError, Jagged, Table


@dataclass(frozen=True, slots=True)
class Parts:
    """A `Jagged` cut by feature.

    Attributes:
        values: a feature each, int64.
        starts: a feature each, [B] from 0 on; None when each bag holds one id.
        weights: a feature each; None without.
    """

    values: list[NDArray[np.int64]]
    starts: list[NDArray[np.int64]] | None
    weights: list[NDArray[np.float32]] | None


def parts_of(ids: Jagged, features: int) -> Parts:
    """The ids by feature.

    Raises:
        InputError: lengths do not add up, or offsets fall.
    """
    values = np.ascontiguousarray(ids.values, np.int64)
    batch, length = ids.batch, len(values)
    if ids.weights is not None and len(ids.weights) != length:
        raise InputError("lookup", f"{len(ids.weights)} weights for {length} ids", "Pass one an id.")
    if ids.offsets is None:
        if length != features * batch:
            raise InputError(
                "lookup", f"{length} ids without offsets, wanted {features} x {batch}", "Pass offsets [F*B + 1]."
            )
        cut, starts = np.arange(features + 1) * batch, None
    else:
        offsets = ids.offsets.astype(np.int64)
        if len(offsets) != features * batch + 1 or offsets[0] != 0 or offsets[-1] != length:
            raise InputError(
                "lookup",
                f"{len(offsets)} offsets from {offsets[:1]} to {offsets[-1:]} for {length} ids of {features} features "
                f"and {batch} samples",
                "Pass [F*B + 1], from 0 to the number of ids.",
            )
        if (np.diff(offsets) < 0).any():
            raise InputError("lookup", f"offsets fall at {int(np.argmax(np.diff(offsets) < 0))}", "Offsets must rise.")
        cut = offsets[np.arange(features + 1) * batch]
        starts = [offsets[f * batch : (f + 1) * batch] - cut[f] for f in range(features)]
    own = [values[cut[f] : cut[f + 1]] for f in range(features)]
    weights = None if ids.weights is None else [ids.weights[cut[f] : cut[f + 1]] for f in range(features)]
    return Parts(own, starts, weights)


class FeatureIds:
    """One feature's way with ids that are outside its table."""

    def __init__(self, feature: Feature, table: Table) -> None:
        self._feature = feature
        self._rows = table.rows

    def inside(self, ids_L: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
        """Ids inside the table, and how many the policy replaced (modulo is no replacement: it is what ids mean).

        Raises:
            IdRangeError: an id is outside and the policy is `error`.
        """
        if not len(ids_L) or (ids_L.min() >= 0 and ids_L.max() < self._rows):
            return ids_L, 0
        if self._feature.id_map.kind == "modulo":
            return ids_L % self._rows, 0
        outside = (ids_L < 0) | (ids_L >= self._rows)
        count = int(outside.sum())
        match self._feature.id_map.out_of_range:
            case "clamp":
                return np.clip(ids_L, 0, self._rows - 1), count
            case "wrap":
                return ids_L % self._rows, count
            case "default":
                return np.where(outside, self._feature.id_map.default_row, ids_L), count
        at = int(np.argmax(outside))
        raise IdRangeError(
            "lookup",
            f"id {int(ids_L[at])} of feature '{self._feature.name}' (its value {at}) lies outside table "
            f"'{self._feature.table}' of {self._rows} rows",
            "Correct the id, or set the feature's out_of_range policy to clamp, wrap or default.",
        )
