"""Ways to hold a feature's embeddings. The menu."""

from recsmith.spec import Registry

REPRESENTATIONS = Registry("representation", {"table": "recsmith.representations.table:TableRepresentation"})
