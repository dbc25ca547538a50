"""Which columns of a table hold the dense inputs."""

from __future__ import annotations

from collections.abc import Sequence

from recsmith.spec import InputError

_NOT_DENSE = ("label", "dense")


def dense_columns(header: Sequence[str], features: Sequence[str], count: int) -> list[str]:
    """The `count` columns that hold dense inputs, in order.

    `dense.0`, `dense.1` ... if there; else `I1`, `I2` ... (Criteo's names); else all columns that are neither a
    feature nor `label`, when they are as many as needed.

    Raises:
        InputError: none of these gives `count` columns.
    """
    if not count:
        return []
    for names in ([f"dense.{i}" for i in range(count)], [f"I{i + 1}" for i in range(count)]):
        if set(names) <= set(header):
            return names
    rest = [name for name in header if name not in features and name not in _NOT_DENSE]
    if len(rest) == count:
        return rest
    raise InputError(
        "read",
        f"the model takes {count} dense inputs; {len(rest)} columns are neither features nor the label"
        + (f" ({', '.join(rest[:8])})" if rest else ""),
        f"Name the dense columns dense.0 to dense.{count - 1}.",
    )
