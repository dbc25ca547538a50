"""Which processors there are: socket, physical core, NUMA node, and who shares a core (SMT)."""

from __future__ import annotations

import os
from dataclasses import dataclass

from .system import System

_CPU = "sys/devices/system/cpu"
_NODE = "sys/devices/system/node"


@dataclass(frozen=True)
class Cpu:
    """One processor as the operating system counts them.

    Attributes:
        package: its socket.
        core: a number that the processors of one physical core share (the lowest of them).
        threads: all processors of that physical core, itself included.
    """

    index: int
    package: int
    node: int
    core: int
    threads: tuple[int, ...]


def read_cpus(system: System) -> tuple[Cpu, ...]:
    """All processors that are online, in the system's order."""
    nodes = {cpu: node for node in read_nodes(system) for cpu in node_cpus(system, node)}
    return tuple(_read_cpu(system, index, nodes.get(index, 0)) for index in online(system))


def online(system: System) -> tuple[int, ...]:
    """Numbers of the processors that are online."""
    listed = system.cpus(f"{_CPU}/online")
    if listed:
        return listed
    found = system.numbered(_CPU, "cpu")
    if found:
        return found
    if system.live:
        return tuple(range(os.cpu_count() or 1))
    return (0,)


def read_nodes(system: System) -> tuple[int, ...]:
    """Numbers of the NUMA nodes that have processors; (0,) where the system does not say."""
    with_cpus = [node for node in system.numbered(_NODE, "node") if node_cpus(system, node)]
    return tuple(with_cpus) or (0,)


def node_cpus(system: System, node: int) -> tuple[int, ...]:
    """The processors of a NUMA node."""
    return system.cpus(f"{_NODE}/node{node}/cpulist") or ()


def spread(cpus: tuple[Cpu, ...]) -> tuple[Cpu, ...]:
    """The same processors, the first of each physical core before the second of any."""
    seen: dict[int, int] = {}
    rank = {}
    for cpu in cpus:
        rank[cpu.index] = seen.get(cpu.core, 0)
        seen[cpu.core] = rank[cpu.index] + 1
    return tuple(sorted(cpus, key=lambda cpu: rank[cpu.index]))


def _read_cpu(system: System, index: int, node: int) -> Cpu:
    folder = f"{_CPU}/cpu{index}/topology"
    threads = system.cpus(f"{folder}/thread_siblings_list") or system.cpus(f"{folder}/core_cpus_list") or (index,)
    # A socket that firmware does not number is -1.
    package = max(0, system.integer(f"{folder}/physical_package_id") or 0)
    return Cpu(index, package, node, min(threads), threads)
