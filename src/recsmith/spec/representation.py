"""How ids become vectors where rows are not simply stored, and how a model's features are told to be held."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Literal, TypeAlias

from .record import Record
from .row_format import RowDtype, RowFormat

Transform = Literal["uniform", "gaussian"]
DecoderActivation = Literal["relu", "sigmoid", "mish", "none"]

_HASH_FLOPS = 4
_TRANSFORM_FLOPS = {"uniform": 4, "gaussian": 10}


class Parameter(Record, frozen=True):
    """An array that a computed table needs; in `Weights.parameters` it is called `{table}.{name}`.

    Attributes:
        shape: of its elements.
        dtype: a matrix in another format than fp32 is kept as rows of a table are, see `RowFormat`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: RowDtype | Literal["int64"] = "fp32"

    @property
    def nbytes(self) -> int:
        """Bytes as stored."""
        if self.dtype == "int64":
            return math.prod(self.shape) * 8
        return math.prod(self.shape[:-1]) * RowFormat(self.dtype).stride_bytes(self.shape[-1])


class Dhe(Record, frozen=True, tag="dhe"):
    """Deep hash embedding: an id is hashed k ways and the hashes are decoded by an MLP.

    h_j(x) = ((a_j * x + b_j) mod prime) mod buckets; the transform makes a code of k numbers of the hashes; the
    decoder's widths are k, `hidden`, dim. Source: [MPREC] B2.

    Attributes:
        k: hash functions; even for `gaussian`.
        prime: ids that are equal modulo it cannot be told apart, so it should exceed the largest id. 0 lets
            `representations.dhe` choose the first such prime that is above `buckets` too.
        transform: `uniform` to [-1, 1]; `gaussian`: Box-Muller on neighbouring hashes.
        batch_norm: whether a batch norm (running statistics) follows the last activation.
        dtype: number format in which the decoder's weights are kept, those of one output being a row; products and
            everything else are in float32 or bf16, as a plan says.
        seed, draw: hash parameters are the `draw`-th k pairs (a, b) that Python's generator yields after `seed`;
            one seed serves all tables of a model, each with the next draw.
    """

    k: int = 1024
    prime: int = 0
    buckets: int = 1_000_000
    transform: Transform = "uniform"
    hidden: tuple[int, ...] = (512, 256)
    hidden_activation: DecoderActivation = "relu"
    last_activation: DecoderActivation = "sigmoid"
    batch_norm: bool = False
    dtype: RowDtype = "fp32"
    seed: int = 0
    draw: int = 0

    def widths(self, dim: int) -> tuple[int, ...]:
        """The decoder's widths, from k to `dim`."""
        return (self.k, *self.hidden, dim)

    def activations(self) -> tuple[DecoderActivation, ...]:
        """One a decoder layer."""
        return (*([self.hidden_activation] * len(self.hidden)), self.last_activation)

    def parameters(self, rows: int, dim: int) -> tuple[Parameter, ...]:
        """`a`, `b` [k]; `{layer}.weight` [out, in], `{layer}.bias` [out]; `norm.*` [dim] with batch norm."""
        found = [Parameter("a", (self.k,), "int64"), Parameter("b", (self.k,), "int64")]
        for layer, (width_in, width_out) in enumerate(pairwise(self.widths(dim))):
            found.append(Parameter(f"{layer}.weight", (width_out, width_in), self.dtype))
            found.append(Parameter(f"{layer}.bias", (width_out,)))
        if self.batch_norm:
            found += [Parameter(f"norm.{part}", (dim,)) for part in ("weight", "bias", "mean", "variance")]
        return tuple(found)

    def flops(self, dim: int) -> int:
        """Operations an id, counted as the published code does: hash 4, transform 4 or 10, a layer 2 * in * out."""
        encoder = self.k * (_HASH_FLOPS + _TRANSFORM_FLOPS[self.transform])
        return encoder + sum(2 * width_in * width_out for width_in, width_out in pairwise(self.widths(dim)))


class QuotientRemainder(Record, frozen=True, tag="quotient_remainder"):
    """Two small tables: row(x) = quotient[x div collisions] combined with remainder[x mod collisions].

    Source: Shi et al., arXiv 1909.02107.

    Attributes:
        collisions: ids that share a row of the quotient table, which is smaller by this factor.
    """

    collisions: int = 4
    combine: Literal["multiply", "add"] = "multiply"

    def parameters(self, rows: int, dim: int) -> tuple[Parameter, ...]:
        """`quotient` [ceil(rows / collisions), dim] and `remainder` [collisions, dim]."""
        return (
            Parameter("quotient", (-(-rows // self.collisions), dim)),
            Parameter("remainder", (self.collisions, dim)),
        )

    def flops(self, dim: int) -> int:
        """One operation an element."""
        return dim


class MixedDimension(Record, frozen=True, tag="mixed_dimension"):
    """Narrow rows and one projection: row(x) = projection @ narrow[x].

    Source: Ginart et al., arXiv 1909.11810.

    Attributes:
        width: elements of a narrow row.
    """

    width: int = 4

    def parameters(self, rows: int, dim: int) -> tuple[Parameter, ...]:
        """`narrow` [rows, width] and `projection` [dim, width]."""
        return Parameter("narrow", (rows, self.width)), Parameter("projection", (dim, self.width))

    def flops(self, dim: int) -> int:
        """One product of a matrix and a vector."""
        return 2 * self.width * dim


Computed: TypeAlias = Dhe | QuotientRemainder | MixedDimension


class Rows(Record, frozen=True, tag="rows"):
    """Stored rows of a number format: a plain table."""

    dtype: RowDtype = "fp32"


Single: TypeAlias = Rows | Computed


class Hybrid(Record, frozen=True, tag="hybrid"):
    """A table and a DHE for each feature; both vectors enter the interaction. Source: [MPREC] B2."""

    rows: Rows = Rows()
    dhe: Dhe = Dhe()


class Select(Record, frozen=True, tag="select"):
    """Each feature in its own representation. Source: [MPREC] B2, which knows tables and DHE.

    Attributes:
        features: feature name to how it is held.
        others: how all the rest are.
    """

    features: Mapping[str, Single | Hybrid]
    others: Single | Hybrid = Rows()


Choice: TypeAlias = Single | Hybrid | Select
