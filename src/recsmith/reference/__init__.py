"""The oracle: NumPy in float64, written like the equations. Slow on purpose."""

from .computed import codes, computed_rows, hash_ids
from .dlrm import forward, interact, joined, mlp
from .ledger import CountingMemory
from .oracle import bag, lookup, pool
from .rows import decode, encode

__all__ = [
    "CountingMemory",
    "bag",
    "codes",
    "computed_rows",
    "decode",
    "encode",
    "forward",
    "hash_ids",
    "interact",
    "joined",
    "lookup",
    "mlp",
    "pool",
]
