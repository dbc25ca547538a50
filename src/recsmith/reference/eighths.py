"""Numbers of eight bits, e4m3: a sign, four bits of exponent, three of fraction. No infinity; 448 is the largest.

O outputs, I inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 448.0


def encoded(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """The bits of the nearest numbers, ties to even; what is beyond the largest becomes that."""
    size = np.minimum(np.abs(values).astype(np.float64), LARGEST)
    # Numbers below 2^-6 have the steps of those just above.
    exponent = np.where(size == 0, -5, np.maximum(np.frexp(size)[1], -5))
    steps = np.rint(np.ldexp(size, 4 - exponent)).astype(np.int64)
    bits: NDArray[np.uint8] = (np.signbit(values) * 128 + steps + (exponent + 5) * 8).astype(np.uint8)
    return bits


def decoded(bits: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The numbers; NaN for the two codes that are none."""
    exponent, fraction = (bits >> 3 & 15).astype(np.int64), (bits & 7).astype(np.float64)
    size = np.ldexp(np.where(exponent == 0, fraction, fraction + 8), np.maximum(exponent, 1) - 10)
    size[(bits & 127) == 127] = np.nan
    return np.where(bits & 128, -size, size)


def scales(weight_OI: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """[O]: by what weights are divided so that each output's largest is the largest number there is; 1 for zeros."""
    largest_O = np.abs(weight_OI).max(axis=1, initial=0.0)
    return np.where(largest_O > 0, largest_O / LARGEST, 1.0).astype(np.float32)
