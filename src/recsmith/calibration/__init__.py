"""Micro-benchmarks of this machine: a probed platform goes in, a measured one comes out.

A measured profile has, for every memory (the first core's of each level stand for their like):

| access | row_bytes | active_cores | page | seconds |
|---|---|---|---|---|
| `reader` | 32 ... 1024 | 1, 2, 4 ... all that reach it | both where shared, else the best | per row: the ceiling |
| `gather` | the same | the same | the same | per row in bags of 32 |
| `copy` | the same | the same | the same | per row in bags of one, each written out |
| `read`, `write`, `stream_write` | 0 | the same | the same | per byte, in order |
| `write`, `stream_write` | 64 ... 512 | the same | the same | per byte, one vector of that size in each row |
| `latency` | 0 | the same | the same | per dependent load |

`gather` and `copy` time the real kernels: on fp32 rows of row_bytes / 4 elements, and for 36 and 68 bytes on int8
rows of 32 and 64 elements (`dtype` says which). Their `tuning` is the best one found. What they write stays in the
innermost cache: output that does not fit there costs `write` of its level less `write` of the innermost one on top.
Bags of one have no sum to wait for, and reading and writing overlap, so `copy` may be less than `gather` although it
writes more; a look-up that writes v vectors a row lies near (1 - v) * gather + v * copy.

A look-up fills its output feature by feature: one vector in each row of the array, then the next one's. `write` and
`stream_write` with row_bytes are the cost of that, in an array 41 vectors wide; 0 means in order.

Ids and rows are uniform and do not come again before a cache several times as large would have lost them. What an
inner cache serves of an outer one's footprint is taken out.

`tune` adds `Memory.tuned`: the best kernel parameters by row size and batch (`Memory.tuning` finds the nearest), and
puts those of the largest batch into the curves.

`Memory.capacity_bytes` of a shared cache is what was found to be ours, `reported_bytes` what the system says.
"""

from .measure import measure
from .tune import tune

__all__ = ["measure", "tune"]
