"""How fast cores compute rows and MLPs."""

from __future__ import annotations

from typing import Literal

from .record import Record

Precision = Literal["fp32", "bf16"]


class Arithmetic(Record, frozen=True):
    """What parts of a computation cost with so many cores at work, fitted to whole computations; they add up.

    Attributes:
        precision: of the products.
        active_cores: cores that share each computation.
        hash_s: one hash of an id, a core.
        flop_s: one operation of a product, a core.
        decoder_layer_s: whatever a layer of a DHE's decoder costs beside its operations.
        mlp_layer_s: the same for a layer of an MLP.
        pick_s: one row put together from stored ones (quotient-remainder, mixed dimension), its operations excluded.
    """

    precision: Precision
    active_cores: int
    hash_s: float
    flop_s: float
    decoder_layer_s: float
    mlp_layer_s: float
    pick_s: float
