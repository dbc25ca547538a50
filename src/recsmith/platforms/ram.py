"""Main memory of each NUMA node."""

from __future__ import annotations

import re

from .cgroup import Limits
from .system import System

# Where nothing reports it: small enough that a plan for it fits on any server.
ASSUMED_BYTES = 4 << 30


def ram_bytes(system: System, nodes: tuple[int, ...], limits: Limits) -> dict[int, int]:
    """Bytes of memory of each of `nodes`, the control group's limit divided in proportion to their sizes."""
    total = _total_bytes(system)
    # Nodes without processors count here, so that what they hold is not given to the others.
    present = set(nodes) | set(system.numbered("sys/devices/system/node", "node"))
    sizes = {node: size for node in present if (size := _node_bytes(system, node)) is not None}
    if not sizes or not set(nodes) <= set(sizes):
        sizes = dict.fromkeys(nodes, (total or ASSUMED_BYTES) // len(nodes))
    elif total is not None and sum(sizes.values()) < total * 0.9:
        # Memory that was plugged in later may be missing from the nodes' own figures.
        whole = sum(sizes.values())
        sizes = {node: size * total // whole for node, size in sizes.items()}
    return _within(limits, {node: sizes[node] for node in nodes})


def _within(limits: Limits, sizes: dict[int, int]) -> dict[int, int]:
    total = sum(sizes.values())
    if limits.memory_bytes is None or limits.memory_bytes >= total:
        return sizes
    return {node: size * limits.memory_bytes // total for node, size in sizes.items()}


def _node_bytes(system: System, node: int) -> int | None:
    text = system.text(f"sys/devices/system/node/node{node}/meminfo") or ""
    match = re.search(r"MemTotal:\s*(\d+) kB", text)
    return int(match[1]) * 1024 if match else None


def _total_bytes(system: System) -> int | None:
    match = re.match(r"(\d+) kB", system.fields("proc/meminfo").get("MemTotal", ""))
    return int(match[1]) * 1024 if match else None
