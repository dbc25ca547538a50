"""What a look-up benchmark is asked to do."""

from __future__ import annotations

from typing import Literal

from recsmith.spec import Record
from recsmith.spec.platform import Page
from recsmith.spec.row_format import RowDtype

PEERS = ("torch", "compile", "fbgemm", "zentorch", "onnxruntime", "numba")


class LookupOptions(Record, frozen=True):
    """One case of `recsmith bench lookup`.

    Attributes:
        workload: a name of `data.shapes.names()`.
        dim: elements a row, for all tables; None keeps the workload's own.
        ids: `uniform`, `zipf:ALPHA`, `fixed` or `trace:FILE`.
        lengths: whether bags hold exactly the pooling factor or vary around it.
        max_bytes: one common row cap, the largest with which the tables take no more; None keeps all rows.
        platform: file of a measured platform, or a name; None probes this machine (modelled speeds).
        strategies: those the planner may use; empty means all.
        rehearse: whether a plan by `auto` is settled by timing its finalists with the tables (`api.rehearse`).
        fuse: what is timed with the look-up: nothing, or the interaction up to the top MLP's input, pairwise products
            (`dot`) or concatenation (`cat`).
        against: names of `bench.peers.PEERS`.
        rounds: samples of every engine, at least 15 for a figure to be quoted.
        sample_s: least duration of one sample; as many calls as that takes are timed together.
    """

    workload: str
    batch: int
    dim: int | None = None
    ids: str = "uniform"
    lengths: Literal["exact", "poisson"] = "exact"
    threads: int = 1
    dtype: RowDtype = "fp32"
    pages: Page = "huge"
    planner: str = "auto"
    rehearse: bool = True
    strategies: tuple[str, ...] = ()
    platform: str | None = None
    fuse: Literal["none", "dot", "cat"] = "none"
    max_bytes: int | None = None
    against: tuple[str, ...] = PEERS
    rounds: int = 15
    sample_s: float = 10e-3
    seed: int = 0
