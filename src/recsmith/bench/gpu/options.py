"""What a look-up benchmark on a GPU is asked to do."""

from __future__ import annotations

from typing import Literal

from recsmith.spec import Record

PEERS = ("torch", "compile", "fbgemm", "torchrec-triton", "cuembed")


class GpuOptions(Record, frozen=True):
    """One cell.

    Attributes:
        workload: a name of `data.shapes.names()`.
        dim: elements a row; None keeps the workload's own.
        ids: `uniform`, `zipf:ALPHA` or `fixed`.
        output: type of the vectors; that of the rows when empty, fp16 for rows of codes.
        fuse: what is timed with the look-up: nothing, or the interaction up to the top MLP's input.
        max_bytes: one common row cap, the largest with which the tables take no more; None keeps all rows.
        platform: "cuda" or file of a measured GPU.
        strategies: those the planner may use; those that have kernels when empty.
        variants: ways of looking up that are timed beside the planned one; see `ours.VARIANTS` and `ours.L2_WINDOW`.
        sets: of ids; as many as outrun the L2 when 0.
        rounds: samples of every engine.
    """

    workload: str
    batch: int
    dim: int | None = None
    ids: str = "uniform"
    dtype: Literal["fp32", "fp16", "int8", "int4"] = "fp16"
    output: Literal["", "fp32", "fp16"] = ""
    fuse: Literal["none", "dot"] = "none"
    max_bytes: int | None = None
    platform: str = "cuda"
    planner: str = "auto"
    strategies: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    against: tuple[str, ...] = PEERS
    sets: int = 0
    rounds: int = 15
    seed: int = 0
