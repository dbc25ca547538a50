"""What plug-ins must offer. Three methods at most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .batch import Batch, Jagged, Looked, Prediction
from .model import Feature, Model, Table
from .ops import Gather, Op
from .plan import Plan, Problem, Shard
from .platform import Platform, Role
from .representation import Choice
from .work import Estimate, Work
from .workload import Access


class Representation(Protocol):
    """A way to hold a feature's embeddings."""

    name: str

    def hold(self, model: Model, features: Sequence[str], choice: Choice | None = None) -> Model:
        """`model` with the tables of `features` held this way, as `choice` says (None: the usual settings)."""

    def lower(self, feature: Feature, model: Model) -> tuple[Op, ...]:
        """The ops that compute the feature's vectors."""

    def build(self, table: Table, seed: int) -> dict[str, NDArray[np.generic]]:
        """Untrained arrays of one of its tables: parameters by name, or `rows` as stored."""


class Ledger(Protocol):
    """A memory that counts what is read from it; a strategy's reference flow runs on one."""

    def gather(self, role: Role, rows: NDArray[np.float64], index: int) -> NDArray[np.float64]:
        """Row `index` of `rows`, counted as one random read from `role`."""

    def stream(self, role: Role, rows: NDArray[np.float64], start: int, stop: int) -> NDArray[np.float64]:
        """Rows [start, stop) of `rows`, counted as sequential reads from `role`."""


class Strategy(Protocol):
    """A data flow for one core: knows rows and bytes, never seconds.

    Attributes:
        together: neighbouring cores that keep a shard together, each a part of its rows; 1 for all flows that ask
            nothing of other cores.
    """

    name: str
    together: int

    def resident(self, table: Table, shard: Shard) -> Mapping[Role, int]:
        """Bytes it keeps or needs at a time in each memory, by role; empty when nothing but global memory."""

    def work(self, op: Gather, table: Table, shard: Shard, samples: float, access: Access) -> Work:
        """What serving `samples` samples moves and computes, on average over the ids."""

    def dataflow(
        self,
        memory: Ledger,
        rows: NDArray[np.float64],
        bags: Sequence[NDArray[np.int64]],
        weights: Sequence[NDArray[np.float64]],
    ) -> NDArray[np.float64]:
        """The flow itself: [len(bags), dim] weighted sums of `rows` [M, dim], read through `memory`."""


class CostModel(Protocol):
    """The one place where strategies and platforms meet."""

    def loads(self, platform: Platform, work: Mapping[str, Sequence[Work]]) -> dict[str, tuple[Estimate, ...]]:
        """Seconds of each work on each core (core id to works) when all cores run at the same time.

        Caches are shared by everything that reaches them, so the price of a work depends on the others.
        """

    def total(self, platform: Platform, loads: Mapping[str, Sequence[Estimate]]) -> Estimate:
        """Seconds from call to return: the busiest core, and the fixed costs around it."""


class Planner(Protocol):
    """Assigns placements to cores: knows costs and capacities, never platforms by name, never kernels."""

    name: str

    def plan(self, problem: Problem, strategies: Mapping[str, Strategy], cost: CostModel) -> Plan:
        """A plan that passes `check`."""


class Executable(Protocol):
    """A plan bound to a machine; leaving its `with` block closes it."""

    def __enter__(self) -> Self:
        """Itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""

    def lookup(self, ids: Jagged, out: NDArray[np.float32] | None = None) -> Looked:
        """Look the ids up; `out` is [B, width] float32 to write to."""

    def run(self, batch: Batch) -> Prediction:
        """The model's output for the batch."""

    def close(self) -> None:
        """Give back threads and memory."""


@runtime_checkable
class Streaming(Protocol):
    """An executable that stages the next batch while it computes one."""

    def stream(self, batches: Iterable[Batch]) -> Iterator[Prediction]:
        """The model's output for each batch, in order."""


class Progress(Protocol):
    """Told how far a long step is; what draws the bar stands at the edge."""

    def __call__(self, step: str, done: int, total: int) -> None:
        """`done` of `total` units (usually bytes) of `step` are finished."""
