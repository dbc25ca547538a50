"""Micro-benchmarks of the GPU that is here: a probed platform goes in, a measured one comes out.

| what | how | replaces |
|---|---|---|
| random rows of device memory, L2, first-level cache | look-ups in a table of that footprint | `gather`, `copy` |
| random rows of shared memory | owned tables: many look-ups less few, so that bringing them in drops out | the same |
| random rows of a cluster's shared memory | the same, kept by as many blocks as make the largest cluster | the same |
| clusters of 2, 4, 8 full blocks | asked of the driver: how many run at once | what plans may group |
| random rows of pinned host memory, across the bus | look-ups in a table that lies there | the same |
| writes to device memory and L2 | memory set to a value | `write`, `stream_write` |
| reads in order | rows of 1024 bytes | `read` |
| a graph's node, its trips, a segment | nodes that do nothing, that look up a row; short segments | `Overheads` |
| products of warp groups, on Hopper | decoders by them and by `mma`: the same rows, faster? | which are chosen |
| the bus | copies from and to pinned memory | a note |

`gather` is of bags of 32, `copy` of bags of one less what writing them to device memory takes. All multiprocessors
are at work; for fewer of them curves stay modelled.
"""

from .measure import measure

__all__ = ["measure"]
