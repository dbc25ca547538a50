"""Which features to fold into the first top layer: what a rehearsal should time (ours).

A folded row is longer, so where it pays depends on the cache that holds it: small tables go first, and each memory of
the machine is where it may stop to pay.
"""

from __future__ import annotations

from collections.abc import Mapping

from recsmith.spec import CapacityError, Platform


def choices(nbytes: Mapping[str, int], platform: Platform, max_bytes: int) -> list[tuple[str, ...]]:
    """Sets of features worth timing, the smallest first: those whose folded rows are within a cache's reach, and all
    that fit.

    Args:
        nbytes: feature name to the bytes of its folded rows, for those that can be folded.
        max_bytes: that all folded rows together may take.
    """
    caches = sorted({memory.capacity_bytes for memory in platform.memories if memory.kind == "cache"})
    limits = [reach for capacity in caches for reach in (capacity, 4 * capacity) if reach < max_bytes]
    found: list[tuple[str, ...]] = []
    for limit in [*limits, max_bytes]:
        names = _within(nbytes, limit)
        if names and names not in found:
            found.append(names)
    return found


def check_room(rest_bytes: int, folded_bytes: int, platform: Platform) -> None:
    """Return when main memory holds the tables that are left and the folded rows.

    Raises:
        CapacityError: it does not.
    """
    if rest_bytes + folded_bytes > platform.main_bytes:
        raise CapacityError(
            "fold",
            f"folded rows need {folded_bytes:,} bytes beside {rest_bytes:,} of other tables; '{platform.name}' has "
            f"{platform.main_bytes:,}",
            "Fold fewer features, or those with fewer rows.",
        )


def _within(nbytes: Mapping[str, int], limit: int) -> tuple[str, ...]:
    """The smallest features whose bytes together are not above `limit`."""
    total, found = 0, []
    for name in sorted(nbytes, key=lambda name: nbytes[name]):
        total += nbytes[name]
        if total > limit:
            break
        found.append(name)
    return tuple(found)
