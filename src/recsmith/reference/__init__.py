"""The oracle: NumPy in float64, written like the equations. Slow on purpose."""

from .dlrm import forward, interact, joined, mlp
from .ledger import CountingMemory
from .oracle import bag, lookup, pool
from .rows import decode, encode

__all__ = ["CountingMemory", "bag", "decode", "encode", "forward", "interact", "joined", "lookup", "mlp", "pool"]
