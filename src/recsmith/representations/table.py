"""The plain embedding table: a feature's vector is gathered from stored rows of some number format."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from recsmith.spec import Choice, Feature, Gather, Model, Op, RowDtype, RowFormat, Rows, Table

from .tables import chosen, with_tables


class TableRepresentation:
    """Float32 rows, or whatever format the choice asks for."""

    name = "table"
    dtype: RowDtype = "fp32"

    def hold(self, model: Model, features: Sequence[str], choice: Choice | None = None) -> Model:
        """Tables of stored rows; packed unless they were aligned before."""
        rows = chosen(self.name, choice, Rows(self.dtype))
        assert isinstance(rows, Rows)
        return with_tables(
            model,
            features,
            lambda table, _: replace(table, format=RowFormat(rows.dtype, table.format.align_bytes), computed=None),
        )

    def lower(self, feature: Feature, model: Model) -> tuple[Op, ...]:
        """One gather."""
        return (Gather(feature.name, feature.table, feature.pooling, feature.weighted),)

    def build(self, table: Table, seed: int) -> dict[str, NDArray[np.generic]]:
        """`rows` [rows, dim] float32, uniform in +-1 / sqrt(rows), as DLRM draws them."""
        bound = float(np.sqrt(1 / table.rows))
        draw = np.random.default_rng(seed)
        return {"rows": draw.uniform(-bound, bound, (table.rows, table.dim)).astype(np.float32)}


class HalfRows(TableRepresentation):
    """Rows of float16."""

    name = "fp16"
    dtype: RowDtype = "fp16"


class BrainRows(TableRepresentation):
    """Rows of bfloat16."""

    name = "bf16"
    dtype: RowDtype = "bf16"


class ByteRows(TableRepresentation):
    """Rows of 8-bit codes, each row with its own scale and bias."""

    name = "int8"
    dtype: RowDtype = "int8"


class NibbleRows(TableRepresentation):
    """Rows of 4-bit codes, each row with its own scale and bias."""

    name = "int4"
    dtype: RowDtype = "int4"
