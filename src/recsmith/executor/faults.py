"""Turns what the native engine found wrong into errors that name it."""

from __future__ import annotations

from recsmith.spec import CapacityError, Feature, IdRangeError, InputError, Model, RecsmithError


class Faults:
    """Makes the errors of one model's look-ups."""

    def __init__(self, model: Model) -> None:
        self._features = model.features

    def malformed(self, problem: str) -> InputError:
        """An argument that is no array, or of the wrong type or shape."""
        return InputError("lookup", problem, "Pass contiguous arrays: ids, offsets [F*B + 1], float32 weights.")

    def fault(self, kind: int, feature: int, position: int, found: int, limit: int, batch: int) -> RecsmithError:
        """The error of a fault as `csrc/engine/input.hpp` numbers them."""
        match kind:
            case 1:
                return InputError("lookup", f"offsets start at {found}, not at 0", "Start offsets at 0.")
            case 2:
                return InputError(
                    "lookup",
                    f"the bags end at {found}, but there are {limit} values: the lengths do not add up",
                    "Let the last offset equal the number of values (without offsets: one id a feature and sample).",
                )
            case 3:
                sample = position - feature * batch
                return InputError(
                    "lookup",
                    f"offsets fall: feature '{self._features[feature].name}', sample {sample}, offset {position} "
                    f"({found}) lies above the next one or outside the feature",
                    "Offsets must not fall.",
                )
            case 4:
                return self._outside(self._features[feature], position, found, limit)
        return CapacityError("lookup", "there was no memory for working space", "Use smaller batches.")

    def _outside(self, feature: Feature, position: int, found: int, rows: int) -> IdRangeError:
        return IdRangeError(
            "lookup",
            f"id {found} of feature '{feature.name}' (value {position}) lies outside table '{feature.table}' "
            f"of {rows} rows",
            "Correct the id, or set the feature's out_of_range policy to clamp, wrap or default.",
        )
