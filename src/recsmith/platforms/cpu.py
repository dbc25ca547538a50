"""The processor we run on (or a recorded one), as the operating system describes it, with default speeds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from recsmith.spec import Core, Memory, Platform

from .caches import Cache, read_caches
from .cgroup import Limits, read_limits
from .defaults import FLOPS_PER_CLOCK, OVERHEADS, modelled_curves
from .pages import HugePages, read_pages
from .processor import clock_hz, isas, model_name
from .ram import ram_bytes
from .system import System
from .topology import Cpu, read_cpus, spread


def probe(root: str | Path = "/", *, affinity: Iterable[int] | None = None) -> Platform:
    """The machine whose files lie under `root`, with modelled speeds.

    Its cores are those that the process may use: online, in its affinity and its control group, and as many as
    its processor time allows; one of each physical core comes first. `global` is the memory of the core's NUMA
    node, `local` its largest private cache, `staging` its innermost one.

    Args:
        root: "/" for this machine, or a folder with another one's /proc and /sys.
        affinity: processors the process may use; by default what the operating system says.
    """
    system = System(root)
    limits = read_limits(system)
    present = read_cpus(system)
    allowed = tuple(affinity) if affinity is not None else system.usable_cpus()
    cpus = choose_cpus(present, allowed, limits)
    caches = {cpu.index: read_caches(system, cpu.index, cpu.threads) for cpu in cpus}
    pages = read_pages(system)
    nodes = tuple(sorted({cpu.node for cpu in cpus}))
    ram = ram_bytes(system, nodes, limits)
    sets = isas(system)
    return Platform(
        name="cpu",
        kind="cpu",
        machine=f"{model_name(system)}, {sets[-1]}, {len(present)} cores",
        cores=tuple(_core(cpu, cpus, caches[cpu.index], clock_hz(system)) for cpu in cpus),
        memories=(*_caches(cpus, caches), *_rams(cpus, ram)),
        overheads=OVERHEADS,
        capabilities=(*(f"isa:{name}" for name in sets), "page:4k", *(["page:huge"] if pages.available else [])),
        source="probed",
        notes=_notes(present, cpus, caches, limits, pages),
    )


def choose_cpus(present: tuple[Cpu, ...], allowed: tuple[int, ...] | None, limits: Limits) -> tuple[Cpu, ...]:
    """The processors to use: at least one, at most as many as the processor-time limit pays for."""
    wanted = set(allowed if allowed else (cpu.index for cpu in present))
    if limits.cpu_set is not None:
        wanted &= set(limits.cpu_set)
    usable = spread(tuple(cpu for cpu in present if cpu.index in wanted)) or present[:1]
    return usable if limits.cpus is None else usable[: max(1, int(limits.cpus))]


def core_id(cpu: Cpu) -> str:
    """The core's path in the tree: "node0/cpu0/c3"."""
    return f"node{cpu.node}/cpu{cpu.package}/c{cpu.index}"


def ram_id(node: int) -> str:
    """The memory of a NUMA node: "node0/ram"."""
    return f"node{node}/ram"


def _is_private(cache: Cache, cpu: Cpu) -> bool:
    return set(cache.cpus) <= set(cpu.threads)


def _cache_id(cache: Cache, cpu: Cpu) -> str:
    owner = f"node{cpu.node}/cpu{cpu.package}"
    if _is_private(cache, cpu):
        return f"{owner}/c{cpu.core}/{cache.name}"
    return f"{owner}/{cache.name}.{min(cache.cpus)}"


def _core(cpu: Cpu, cpus: tuple[Cpu, ...], caches: tuple[Cache, ...], hz: float) -> Core:
    private = [cache for cache in caches if _is_private(cache, cpu)] or [caches[0]]
    return Core(
        id=core_id(cpu),
        index=cpu.index,
        memories=(*(_cache_id(cache, cpu) for cache in caches), ram_id(cpu.node)),
        roles={
            "global": ram_id(cpu.node),
            "local": _cache_id(max(private, key=lambda cache: cache.size_bytes), cpu),
            "staging": _cache_id(private[0], cpu),
        },
        siblings=tuple(core_id(other) for other in cpus if other.core == cpu.core and other.index != cpu.index),
        flops_per_s=hz * FLOPS_PER_CLOCK,
    )


def _caches(cpus: tuple[Cpu, ...], caches: dict[int, tuple[Cache, ...]]) -> list[Memory]:
    found: dict[str, Memory] = {}
    for cpu in cpus:
        chain = [_cache_id(cache, cpu) for cache in caches[cpu.index]] + [ram_id(cpu.node)]
        for cache, id, parent in zip(caches[cpu.index], chain, chain[1:], strict=False):
            users = tuple(core_id(other) for other in cpus if other.index in cache.cpus)
            found[id] = Memory(
                id=id,
                parent=parent,
                cores=users,
                capacity_bytes=cache.size_bytes,
                kind="cache",
                line_bytes=cache.line_bytes,
                curves=modelled_curves(cache.name, len(users)),
                reported_bytes=0 if cache.assumed else cache.size_bytes,
            )
    return sorted(found.values(), key=lambda memory: memory.capacity_bytes)


def _rams(cpus: tuple[Cpu, ...], ram: dict[int, int]) -> list[Memory]:
    memories = []
    for node, nbytes in ram.items():
        users = tuple(core_id(cpu) for cpu in cpus if cpu.node == node)
        curves = modelled_curves("ram", len(users))
        memories.append(Memory(ram_id(node), None, users, nbytes, "ram", curves=curves, reported_bytes=nbytes))
    return memories


def _notes(
    present: tuple[Cpu, ...],
    cpus: tuple[Cpu, ...],
    caches: dict[int, tuple[Cache, ...]],
    limits: Limits,
    pages: HugePages,
) -> tuple[str, ...]:
    notes = ["Speeds are modelled defaults; `recsmith measure` replaces them."]
    if len(cpus) < len(present):
        notes.append(f"{len(cpus)} of {len(present)} processors may be used (affinity, control group, quota).")
    if limits.memory_bytes is not None:
        notes.append(f"The control group allows {limits.memory_bytes / 1e9:.1f} GB of memory.")
    assumed = sorted({cache.name for chain in caches.values() for cache in chain if cache.assumed})
    if assumed:
        notes.append(f"The operating system does not report {' and '.join(assumed)}: sizes are assumed.")
    if not pages.available:
        notes.append("Huge pages are not available: transparent huge pages are off or absent.")
    return tuple(notes)
