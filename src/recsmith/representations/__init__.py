"""Ways to hold a feature's embeddings. The menu, and two calls over it."""

from .holding import build, hold, lower
from .menu import REPRESENTATIONS

__all__ = ["REPRESENTATIONS", "build", "hold", "lower"]
