"""Micro-benchmarks of this machine: a probed platform goes in, a measured one comes out.

A measured profile has, for every memory (the first core's of each level stand for their like):

| access | row_bytes | active_cores | page | seconds |
|---|---|---|---|---|
| `reader` | 32 ... 1024 | 1, 2, 4 ... all that reach it | both where shared, else the best | per row: the ceiling |
| `gather` | the same | the same | the same | per row in bags of 32, written to a private cache |
| `copy` | the same | the same | the same | per row in bags of one, each written to a private cache |
| `read`, `write`, `stream_write` | 0 | the same | the same | per byte, in order |
| `latency` | 0 | the same | the same | per dependent load |

`gather` and `copy` time the real kernels on fp32 rows of row_bytes / 4 elements; their `tuning` is the best one
found. `copy` minus `gather` is what writing adds: nothing to speak of behind main memory, most of it inside the
caches. Ids and rows are uniform and do not come again before a cache several times as large would have lost
them. What an inner cache serves of an outer one's footprint is taken out.

`tune` adds `Memory.tuned`: the best kernel parameters by row size and batch (`Memory.tuning` finds the nearest), and
puts those of the largest batch into the curves. `measure_anchors` measures a few points again and says how much
faster or slower the machine is now.

`Memory.capacity_bytes` of a shared cache is what was found to be ours, `reported_bytes` what the system says.
"""

from .anchors import Anchor, Anchors, measure_anchors
from .measure import measure
from .tune import tune

__all__ = ["Anchor", "Anchors", "measure", "measure_anchors", "tune"]
