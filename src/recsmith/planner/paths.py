"""The paths worth keeping: those that no other path on the same platform beats (ours; [MPREC] B4)."""

from __future__ import annotations

from collections.abc import Sequence

from recsmith.spec import Path


def pareto(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The paths that no other dominates, in their order; of equal ones the first.

    Paths on different platforms never dominate each other: they take queries side by side.
    """
    return tuple(
        path
        for at, path in enumerate(paths)
        if not any(
            dominates(other, path) or (before < at and _equal(other, path))
            for before, other in enumerate(paths)
            if other is not path
        )
    )


def dominates(one: Path, other: Path) -> bool:
    """Whether `one` is nowhere worse than `other` and somewhere better: in logloss, bytes, and latency of each size.

    Quality is the logloss, which still tells models apart whose predictions fall on the same side of one half.
    """
    if one.platform != other.platform:
        return False
    ours, theirs = _figures(one), _figures(other)
    return ours != theirs and all(a <= b for a, b in zip(ours, theirs, strict=True))


def _equal(one: Path, other: Path) -> bool:
    return one.platform == other.platform and _figures(one) == _figures(other)


def _figures(path: Path) -> tuple[float, ...]:
    return (path.logloss, path.nbytes, *(latency.seconds for latency in path.latencies))
