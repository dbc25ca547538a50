"""What goes in and comes out of a prediction.

Structs, as a frozen dataclass takes half a microsecond to make: as long as looking one sample up.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64] | NDArray[np.int32]


class Jagged(msgspec.Struct, frozen=True, eq=False):
    """The ids of all features of a batch, feature-major (the layout of TorchRec's KeyedJaggedTensor).

    Attributes:
        values: [L] int64 or int32; the ids of feature 0 for all samples, then those of feature 1, ...
        offsets: [F*B + 1] int64 or int32; bag (f, b) is `values[offsets[f*B + b] : offsets[f*B + b + 1]]`.
            None means one id for every feature and sample, so L = F*B.
        batch: B, the number of samples.
        weights: [L] float32, or None when no feature is weighted.
    """

    values: Ids
    offsets: Ids | None
    batch: int
    weights: NDArray[np.float32] | None = None


class Batch(msgspec.Struct, frozen=True, eq=False):
    """One batch of samples.

    Attributes:
        sparse: the ids.
        dense: [B, D] float32, or None for models without dense inputs.
    """

    sparse: Jagged
    dense: NDArray[np.float32] | None = None


class Looked(msgspec.Struct, frozen=True, eq=False):
    """The look-up's output.

    Attributes:
        pooled: [B, width] float32, features side by side in the model's order.
        sequences: feature name to [L_f, dim] float32 for features with pooling `none`.
        replaced: ids that an `out_of_range` policy replaced.
    """

    pooled: NDArray[np.float32]
    sequences: dict[str, NDArray[np.float32]]
    replaced: int = 0


class Interacted(msgspec.Struct, frozen=True, eq=False):
    """The interaction's output, which is the top MLP's input; or the first layer's, where features are folded into it.

    Attributes:
        values: [B, I] float32: the bottom MLP's output, then pairwise products (`dot`) or vectors (`cat`); or all of
            them added up (`sum`).
        replaced: ids that an `out_of_range` policy replaced.
    """

    values: NDArray[np.float32]
    replaced: int = 0


class Prediction(msgspec.Struct, frozen=True, eq=False):
    """The model's output.

    Attributes:
        values: [B] or [B, outputs] float32, as the original module returns it.
        replaced: ids that an `out_of_range` policy replaced.
    """

    values: NDArray[np.float32]
    replaced: int = 0
