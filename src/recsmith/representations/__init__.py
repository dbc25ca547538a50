"""Ways to hold a feature's embeddings. The menu, and two calls over it."""

from .folding import seen
from .holding import build, hold, lower
from .menu import REPRESENTATIONS
from .serving import beside_name, served, servings

__all__ = ["REPRESENTATIONS", "beside_name", "build", "hold", "lower", "seen", "served", "servings"]
