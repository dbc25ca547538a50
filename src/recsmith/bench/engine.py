"""What the look-up benchmark times: anything that turns ids into pooled vectors, or into the top MLP's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Interaction, Jagged, Model, UnavailableError
from recsmith.spec.platform import Page


@dataclass(frozen=True, slots=True)
class Joint:
    """The interaction behind the look-up.

    Attributes:
        bottom: [B, E] float32: the bottom MLP's output, the same for all batches and engines; it is near, as it is
            when an MLP has just written it.
    """

    interaction: Interaction
    vectors: int
    bottom: NDArray[np.float32]

    @property
    def dim(self) -> int:
        """Elements of the bottom MLP's output, and of each vector of a `dot`."""
        return int(self.bottom.shape[1])

    @property
    def pairs(self) -> int:
        """Products of one sample."""
        return self.vectors * (self.vectors - 1) // 2 if self.interaction.kind == "dot" else 0


@dataclass(frozen=True, slots=True)
class Setup:
    """What every engine gets: one shared copy of the weights, and the form of the batches to come.

    Attributes:
        buffer: [bytes] uint8, all tables one after the other in the model's order, without gaps.
        tables: table name to its rows, views of `buffer` (as in `Weights.tables`).
        bag_lengths: ids in each bag, one a feature, when they do not vary; None when they do.
        threads: how many an engine may use.
        joint: the interaction, when it is timed too.
    """

    model: Model
    buffer: NDArray[np.uint8]
    tables: dict[str, NDArray[np.generic]]
    batch: int
    bag_lengths: tuple[int, ...] | None
    threads: int
    pages: Page
    joint: Joint | None = None

    @property
    def columns(self) -> int:
        """Columns of the output: pooled vectors, or the top MLP's input."""
        if self.joint is None:
            return self.model.width
        return self.joint.dim + (self.joint.pairs if self.joint.interaction.kind == "dot" else self.model.width)

    @property
    def one_hot(self) -> bool:
        """Whether every bag holds one id."""
        return self.bag_lengths is not None and set(self.bag_lengths) == {1}

    @property
    def dims(self) -> list[int]:
        """Elements of each feature's vector, in order."""
        return [self.model.table_of(feature).dim for feature in self.model.features]

    @property
    def feature_tables(self) -> list[NDArray[np.generic]]:
        """Each feature's table, in order."""
        return [self.tables[feature.table] for feature in self.model.features]

    def require_float32(self, engine: str) -> None:
        """Return when rows are stored as float32.

        Raises:
            UnavailableError: they are not.
        """
        found = {table.format.dtype for table in self.model.tables}
        if found != {"fp32"}:
            raise UnavailableError(
                "bench", f"{engine} cannot read the shared {', '.join(sorted(found))} rows into float32 vectors"
            )


class NoSettings:
    """Part of an engine that needs nothing of the process."""

    def activate(self) -> None:
        """Nothing to do."""

    def deactivate(self) -> None:
        """Nothing to do."""


class Engine(Protocol):
    """One way of looking up.

    Attributes:
        name: as the result calls it.
        version: of the library.
        settings: what was chosen for it, in words.
        op_based: whether it goes through a framework's operators, as opposed to one purpose-made kernel.
    """

    name: str
    version: str
    settings: str
    op_based: bool

    def activate(self) -> None:
        """Make the process's settings (threads, modes) those it wants. Before each sample, not timed."""

    def deactivate(self) -> None:
        """Put the settings back."""

    def prepare(self, ids: Jagged) -> Any:
        """The batch in the engine's own form. Not timed."""

    def call(self, prepared: Any) -> Any:
        """The look-up: the public Python call. Timed."""

    def output(self, result: Any) -> NDArray[np.float32]:
        """What `call` returned, as [B, width]."""

    def close(self) -> None:
        """Give back threads and memory."""
