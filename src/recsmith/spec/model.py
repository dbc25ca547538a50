"""What a trained model is: features, tables and the dense parts before and after the look-up."""

from __future__ import annotations

import math
from typing import Literal

from .errors import PlanError
from .record import Record
from .representation import Computed, Parameter
from .row_format import RowFormat

Pooling = Literal["sum", "mean", "none"]
IdPolicy = Literal["error", "clamp", "wrap", "default"]
Activation = Literal["relu", "sigmoid", "none"]
InteractionKind = Literal["dot", "cat", "sum", "sum_relu"]


class Table(Record, frozen=True):
    """One embedding table: ids 0 to rows - 1, each with a vector of `dim` elements.

    Attributes:
        format: how the rows are stored.
        computed: how they are computed instead, in float32; None when they are stored.
    """

    name: str
    rows: int
    dim: int
    format: RowFormat = RowFormat()
    computed: Computed | None = None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What a computed table needs; empty when rows are stored."""
        return () if self.computed is None else self.computed.parameters(self.rows, self.dim)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows as stored, or of what they are computed from."""
        if self.computed is not None:
            return sum(parameter.nbytes for parameter in self.parameters)
        return self.rows * self.format.stride_bytes(self.dim)

    @property
    def served_bytes(self) -> int:
        """Bytes in memory while it serves: what rows are computed from is float32 then, whatever it is kept as."""
        if self.computed is None:
            return self.nbytes
        return sum(math.prod(each.shape) * (8 if each.dtype == "int64" else 4) for each in self.parameters)

    @property
    def flops(self) -> int:
        """Operations that computing one row takes; 0 when rows are stored."""
        return 0 if self.computed is None else self.computed.flops(self.dim)


class IdMap(Record, frozen=True):
    """How raw ids become row numbers, and what happens to ids outside the table.

    Attributes:
        kind: `integer` takes ids as they are, `modulo` takes id mod rows, `vocabulary` looks them up in a file.
        file: name of the vocabulary file inside the artifact.
        out_of_range: `error` raises; `clamp` takes the nearest row, `wrap` id mod rows, `default` row
            `default_row`. All but `error` are counted.
        default_row: the row that stands for unseen ids under `default`.
    """

    kind: Literal["integer", "modulo", "vocabulary"] = "integer"
    file: str | None = None
    out_of_range: IdPolicy = "error"
    default_row: int = 0


class Feature(Record, frozen=True):
    """A sparse input: a bag of ids per sample, looked up in `table`. Several features may share one.

    Attributes:
        pooling: how a bag's rows become one vector; `none` keeps one vector per id.
        weighted: whether each id comes with a weight of its own (sum pooling only).
        padding_id: rows of this id add nothing and are left out of a mean's count.
        beside: a second table (hybrid): the bag's vector from it enters the interaction as well. Not for
            pooling `none`.
    """

    name: str
    table: str
    pooling: Pooling = "sum"
    weighted: bool = False
    padding_id: int | None = None
    id_map: IdMap = IdMap()
    beside: str | None = None


class Mlp(Record, frozen=True, tag="mlp"):
    """A stack of linear layers.

    Attributes:
        widths: input width first, output width last.
        activations: one per layer, applied after it.
        prefix: layer i's parameters are `{prefix}.{i}.weight` [out, in] and `{prefix}.{i}.bias` [out].
    """

    widths: tuple[int, ...]
    activations: tuple[Activation, ...]
    prefix: str


class GraphInput(Record, frozen=True):
    """One input of an exported dense part; each begins with the batch axis.

    Attributes:
        kind: `dense`: columns [start, stop) of the dense inputs; `pooled`: the look-up's output [B, width];
            `sequence`: the vectors of `feature`, whose bags are all of one length; `ids`: its ids, int64.
        shape: of one sample, without a sequence's dim; -1 stands for the length of a bag.
    """

    kind: Literal["dense", "pooled", "sequence", "ids"]
    feature: str = ""
    start: int = 0
    stop: int = 0
    shape: tuple[int, ...] = ()


class Graph(Record, frozen=True, tag="graph"):
    """A dense part exported with `torch.export`: takes `inputs` in order, returns the output [B] or [B, n].

    Attributes:
        file: its name in the artifact and in `Weights.files`.
    """

    file: str
    inputs: tuple[GraphInput, ...] = ()


class Interaction(Record, frozen=True):
    """How the bottom MLP's output and the look-ups are joined before the top MLP.

    Attributes:
        kind: `dot`: pairwise dot products appended to the bottom output (DLRM); `cat`: concatenation; `sum`: the bottom
            output and all vectors added up; `sum_relu`: the same, with zeros for what is below zero.
        self_terms: whether `dot` keeps each vector's product with itself.
    """

    kind: InteractionKind = "dot"
    self_terms: bool = False


class Provenance(Record, frozen=True):
    """Where a model came from."""

    source: str = ""
    importer: str = ""
    sha256: str = ""
    created: str = ""


class Model(Record, frozen=True):
    """A trained model, cut at the output of the look-up.

    Either `bottom`, `interaction` and `top` are set (DLRM), or `graph`, or none of them (look-up only).

    Attributes:
        features: in the order in which their vectors are laid out in the look-up's output.
        dense_inputs: number of dense inputs a sample.
    """

    name: str
    tables: tuple[Table, ...]
    features: tuple[Feature, ...]
    dense_inputs: int = 0
    bottom: Mlp | None = None
    interaction: Interaction | None = None
    top: Mlp | None = None
    graph: Graph | None = None
    provenance: Provenance = Provenance()

    def table(self, name: str) -> Table:
        """The table called `name`.

        Raises:
            PlanError: there is none.
        """
        for table in self.tables:
            if table.name == name:
                return table
        raise PlanError("model", f"model '{self.name}' has no table '{name}'", "Check the feature's table name.")

    def table_of(self, feature: Feature) -> Table:
        """The table that `feature` reads."""
        return self.table(feature.table)

    @property
    def pooled(self) -> tuple[Feature, ...]:
        """The features that yield one vector a sample, in output order."""
        return tuple(feature for feature in self.features if feature.pooling != "none")

    @property
    def vectors(self) -> tuple[tuple[Feature, Table], ...]:
        """Feature and table of each vector of the look-up's output: pooled features in order, then those beside."""
        first = [(feature, self.table(feature.table)) for feature in self.pooled]
        second = [(feature, self.table(feature.beside)) for feature in self.pooled if feature.beside is not None]
        return (*first, *second)

    @property
    def columns(self) -> dict[str, int]:
        """First column of each pooled feature's (first) vector in the look-up's output."""
        found, column = {}, 0
        for feature in self.pooled:
            found[feature.name] = column
            column += self.table_of(feature).dim
        return found

    @property
    def width(self) -> int:
        """Columns of the look-up's output: the dims of all vectors added up."""
        return sum(table.dim for _, table in self.vectors)

    @property
    def computes(self) -> bool:
        """Whether some vectors are computed, or a feature has two; look-ups alone do not serve such a model."""
        return any(table.computed is not None for table in self.tables) or any(f.beside for f in self.features)

    @property
    def nbytes(self) -> int:
        """Bytes of all tables, each counted once however many features share it."""
        return sum(table.nbytes for table in self.tables)
