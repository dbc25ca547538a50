"""Which rows lie in a device's own memory when it does not hold all of them, and what the others cost (ours)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from recsmith.spec import Memory, Platform, Request, Role, Table, Work

RESERVE_BYTES = 2 << 30
"""Of the device's memory, left to batches, graphs and dense parts."""


def near_rows(
    tables: Sequence[Table], asked: Mapping[str, float], room: int, part_bytes: Callable[[Table, int], int]
) -> dict[str, int]:
    """Table name to its rows that lie in the device's memory: those with most look-ups a byte, while there is room.

    At most one table is cut: the first that does not fit.

    Args:
        asked: table name to look-ups a sample.
        room: bytes for all.
        part_bytes: bytes of so many rows of a table, something for none and in proportion from there.
    """
    found: dict[str, int] = {}
    cut = False
    for table in sorted(tables, key=lambda t: -asked.get(t.name, 0.0) / part_bytes(t, t.rows)):
        if part_bytes(table, table.rows) <= room:
            found[table.name] = table.rows
        elif not cut and room >= part_bytes(table, 1):
            cut = True
            nothing = part_bytes(table, 0)
            found[table.name] = (room - nothing) // (part_bytes(table, 1) - nothing)
        else:
            continue
        room -= part_bytes(table, found[table.name])
    return found


def far_shares(platform: Platform, tables: Sequence[Table], asked: Mapping[str, float]) -> dict[str, float]:
    """Table name to the part of its rows that its `global` memory has no room for; only those that have some.

    Empty where all fit, or where there is no memory beyond. Computed tables are not counted: their parameters are
    small, and never lie elsewhere.
    """
    tables = [table for table in tables if table.computed is None]
    home = _one(platform, "global")
    if home is None or _one(platform, "host") is None or sum(table.nbytes for table in tables) <= _room(home):
        return {}
    near = near_rows(tables, asked, _room(home), lambda table, rows: rows * table.format.stride_bytes(table.dim))
    return {t.name: 1 - near.get(t.name, 0) / t.rows for t in tables if near.get(t.name, 0) < t.rows}


def with_far_rows(work: Work, share: float) -> Work:
    """`work` with `share` of its random rows of `global` memory read from the host's; ids scatter over the table."""
    requests: list[Request] = []
    for request in work.requests:
        if request.role == "global" and share > 0:
            requests.append(replace(request, role="host", count=request.count * share))
            request = replace(request, count=request.count * (1 - share))
        requests.append(request)
    return replace(work, requests=tuple(requests))


def _room(home: Memory) -> int:
    return max(0, home.capacity_bytes - RESERVE_BYTES)


def _one(platform: Platform, role: Role) -> Memory | None:
    """The memory that plays `role` for all cores, if it is one."""
    names = {core.roles.get(role) for core in platform.cores}
    (name, *others) = names
    return platform.memory(name) if name is not None and not others else None
