"""What computations consist of, and what a machine takes for each part (ours)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from recsmith.spec import Arithmetic, Dhe, Table
from recsmith.spec.arithmetic import Precision

PARTS = ("hash", "flop", "decoder layer", "mlp layer", "pick")


def parts_of_rows(table: Table, count: float, cores: int) -> dict[str, float]:
    """How much of each of `PARTS` each of `cores` has in `count` rows of a computed table."""
    if not isinstance(table.computed, Dhe):
        return {"pick": count, "flop": count * table.flops / cores}
    widths = table.computed.widths(table.dim)
    found = {"hash": count * table.computed.k / cores, "flop": count * _products(widths) / cores}
    return found | {"decoder layer": float(len(widths) - 1)}


def parts_of_mlp(widths: Sequence[int], batch: float, cores: int) -> dict[str, float]:
    """How much of each of `PARTS` each of `cores` has in one MLP."""
    return {"flop": batch * _products(widths) / cores, "mlp layer": float(len(widths) - 1)}


def seconds(parts: Mapping[str, float], each: Arithmetic) -> float:
    """Seconds of a computation of these parts."""
    costs = (each.hash_s, each.flop_s, each.decoder_layer_s, each.mlp_layer_s, each.pick_s)
    return sum(parts.get(name, 0.0) * cost for name, cost in zip(PARTS, costs, strict=True))


def nearest(measured: Sequence[Arithmetic], precision: Precision, cores: int) -> Arithmetic | None:
    """What was measured with that precision and about as many cores: at most as many where that was done."""
    own = sorted((one for one in measured if one.precision == precision), key=lambda one: one.active_cores)
    fewer = [one for one in own if one.active_cores <= cores]
    return fewer[-1] if fewer else own[0] if own else None


def _products(widths: Sequence[int]) -> int:
    return sum(2 * wide * out for wide, out in pairwise(widths))
