"""The arrays of a model. The one place, with batches, where tensors live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's arrays, usually memory-mapped and read only when touched.

    Attributes:
        tables: table name to its rows: [rows, dim] of float32 or float16 for those formats, [rows, dim] of
            uint16 bit patterns for bf16, [rows, stride] of uint8 for quantised rows.
        parameters: `{table}.{parameter}` to array, for computed tables: float32, or what
            `spec.Parameter` says; matrices in other formats as tables are.
        dense: parameter name to array, for `Mlp` parts.
        files: name of an exported graph or a vocabulary, as the `Model` refers to it, to its bytes or to the
            path where it lies.
    """

    tables: Mapping[str, NDArray[np.generic]]
    dense: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    files: Mapping[str, bytes | Path] = field(default_factory=dict)
    parameters: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)

    def of(self, table: str) -> dict[str, NDArray[np.generic]]:
        """The parameters of the computed table called `table`, by their own names."""
        head = f"{table}."
        return {name.removeprefix(head): array for name, array in self.parameters.items() if name.startswith(head)}
