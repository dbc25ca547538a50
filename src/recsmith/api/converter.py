"""One model on its way to another representation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from recsmith.reference.computed import kept_weights, single_weights
from recsmith.representations import REPRESENTATIONS, hold
from recsmith.representations.closest import closest
from recsmith.representations.tables import tables_of
from recsmith.spec import (
    Choice,
    Computed,
    Dhe,
    FormatError,
    Model,
    Progress,
    Record,
    RowDtype,
    RowFormat,
    Rows,
    Table,
    Weights,
)

STEPS = 2000


class ConvertedTable(Record, frozen=True):
    """One table that is held in another way now.

    Attributes:
        how: `finished`: computed rows were stored; `rounded`: stored rows, or the weights of a decoder, got another
            format; `fitted`: by a formula; `distilled`: taught to a DHE.
        error: of its rows against those before; see `training.distil.relative_error`.
    """

    table: str
    how: str
    rows: int
    bytes_before: int
    nbytes: int
    error: float


@dataclass
class Converter:
    """Holds a model in another representation.

    Attributes:
        asked: table name to recorded ids.
        done: tables converted so far.
    """

    model: Model
    weights: Weights
    asked: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    steps: int = STEPS
    seed: int = 0
    progress: Progress | None = None
    done: list[ConvertedTable] = field(default_factory=list)

    def convert(self, choice: Choice | str, features: Sequence[str]) -> tuple[Model, Weights]:
        """The model and its weights, held as `choice` says."""
        rows = _stored(choice)
        return self.towards(self._held(choice, features) if rows is None else _with_rows(self.model, features, rows))

    def towards(self, made: Model) -> tuple[Model, Weights]:
        """`made`, which is the model with its tables held in other ways, and weights to match."""
        tables: dict[str, NDArray[Any]] = {}
        parameters: dict[str, NDArray[Any]] = {}
        for table in made.tables:
            before = self._before(made, table)
            if before == table:
                tables |= {name: array for name, array in self.weights.tables.items() if name == table.name}
                own = self.weights.of(table.name)
            else:
                own = self._table(before, table)
                tables |= {table.name: own.pop("rows")} if table.computed is None else {}
            parameters |= {f"{table.name}.{name}": array for name, array in own.items()}
        return made, Weights(tables, _widened(self.model, made, self.weights), self.weights.files, parameters)

    def round_decoders(self, dtype: RowDtype, features: Sequence[str]) -> tuple[Model, Weights]:
        """The model and its weights with the decoders' weights of `features` kept in `dtype`.

        Raises:
            FormatError: none of them is a DHE.
        """
        read = _tables_read(self.model, features)
        decoders = {t.name: t for t in self.model.tables if t.name in read and isinstance(t.computed, Dhe)}
        if not decoders:
            raise FormatError(
                "convert", "no table of these features is a DHE", "Give --to dhe besides, or name other features."
            )
        tables = (_with_decoder(each, dtype) if each.name in decoders else each for each in self.model.tables)
        return self.towards(replace(self.model, tables=tuple(tables)))

    def _held(self, choice: Choice | str, features: Sequence[str]) -> Model:
        twofold = [f.name for f in self.model.features if f.name in features and f.beside is not None]
        if twofold:
            raise FormatError(
                "convert",
                f"feature '{twofold[0]}' brings two vectors to the interaction, and the top MLP was trained for both",
                "Convert to stored rows (such as --to table), name other features, or train anew.",
            )
        made = hold(self.model, features, choice)
        if made.width != self.model.width and self.model.graph is not None:
            raise FormatError(
                "convert", "an exported dense part takes no second vectors", "Choose another representation."
            )
        return made

    def _before(self, made: Model, table: Table) -> Table:
        """The table whose rows `table` shall have: its namesake, or the one it stands beside."""
        known = {each.name: each for each in self.model.tables}
        if table.name in known:
            return known[table.name]
        return known[next(feature.table for feature in made.features if feature.beside == table.name)]

    def _single(self, table: Table) -> dict[str, NDArray[np.generic]]:
        assert isinstance(table.computed, Dhe)
        return single_weights(table.computed, self.weights.of(table.name), table.dim)

    def _table(self, before: Table, table: Table) -> dict[str, NDArray[np.generic]]:
        from recsmith.executor.finished import finished_rows, stored_rows
        from recsmith.training.distil import distil, relative_error

        rows_ME = finished_rows(before, self.weights, self.progress)
        asked = self.asked.get(before.name)
        own: dict[str, NDArray[Any]]
        if table.computed is None:
            how = "rounded" if before.computed is None else "finished"
            own = {"rows": stored_rows(table, rows_ME)}
        elif isinstance(table.computed, Dhe) and _same_but_dtype(before.computed, table.computed):
            how = "rounded"
            own = kept_weights(table.computed, self._single(before))
        elif isinstance(table.computed, Dhe):
            how = "distilled"
            own = distil(table, rows_ME, steps=self.steps, asked=asked, seed=self.seed, progress=self.progress)
        else:
            how, own = "fitted", closest(table, rows_ME)
        now = _weights_of(table, own)
        error = relative_error(finished_rows(table, now, self.progress), rows_ME, asked)
        nbytes = before.nbytes if before.name == table.name else 0
        self.done.append(ConvertedTable(table.name, how, table.rows, nbytes, table.nbytes, error))
        return own


def _same_but_dtype(before: Computed | None, now: Dhe) -> bool:
    return isinstance(before, Dhe) and replace(before, dtype=now.dtype) == now


def _stored(choice: Choice | str) -> Rows | None:
    """The format of stored rows that `choice` asks for all features."""
    if isinstance(choice, Rows):
        return choice
    if isinstance(choice, str):
        dtype = getattr(REPRESENTATIONS[choice], "dtype", None)
        return None if dtype is None else Rows(dtype)
    return None


def _with_rows(model: Model, features: Sequence[str], rows: Rows) -> Model:
    """`model` with stored rows in the tables of `features`, and in those beside."""
    read = _tables_read(model, features)
    stored = {
        table.name: replace(table, format=RowFormat(rows.dtype, table.format.align_bytes), computed=None)
        for table in model.tables
        if table.name in read
    }
    return replace(model, tables=tuple(stored.get(table.name, table) for table in model.tables))


def _tables_read(model: Model, features: Sequence[str]) -> set[str]:
    """The tables of `features`, and those beside."""
    read = {*tables_of(model, features)}
    return read | {f.beside for f in model.features if f.beside is not None and f.table in read}


def _with_decoder(table: Table, dtype: RowDtype) -> Table:
    assert isinstance(table.computed, Dhe)
    return replace(table, computed=replace(table.computed, dtype=dtype))


def _weights_of(table: Table, own: Mapping[str, NDArray[Any]]) -> Weights:
    if table.computed is None:
        return Weights({table.name: own["rows"]})
    return Weights({}, parameters={f"{table.name}.{name}": array for name, array in own.items()})


def _widened(before: Model, made: Model, weights: Weights) -> dict[str, NDArray[np.float32]]:
    """The dense parameters; columns of the top MLP for vectors that come last are new, and zero."""
    dense = dict(weights.dense)
    if before.top is None or made.top is None or before.top.widths[0] == made.top.widths[0]:
        return dense
    name = f"{made.top.prefix}.0.weight"
    added = made.top.widths[0] - before.top.widths[0]
    dense[name] = np.pad(dense[name], ((0, 0), (0, added)))
    return dense
