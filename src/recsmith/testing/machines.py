"""Made-up machines with round numbers, for tests of whatever plans and prices. Nothing here was measured."""

from __future__ import annotations

from recsmith.spec import Core, Curve, Memory, Overheads, Platform

KIB, MIB, GIB = 2**10, 2**20, 2**30

# Seconds per row of 64 bytes, and per byte in order, of each level.
_SPEEDS = {"l1": (1e-9, 1e-11), "l2": (1.5e-9, 2e-11), "l3": (4e-9, 5e-11), "ram": (14e-9, 1e-10)}


def cached_machine(cores: int = 2, l2_bytes: int = 2 * MIB, l3_bytes: int = 32 * MIB) -> Platform:
    """A processor of `cores` equal cores with private L1 and L2, one shared L3 and 64 GiB of memory."""
    names = tuple(f"node0/cpu0/c{i}" for i in range(cores))
    memories = [
        Memory("ram", None, names, 64 * GIB, "ram", curves=_curves("ram", cores)),
        Memory("node0/l3", "ram", names, l3_bytes, "cache", curves=_curves("l3", cores)),
    ]
    for name in names:
        memories.append(Memory(f"{name}/l2", "node0/l3", (name,), l2_bytes, "cache", curves=_curves("l2", cores)))
        memories.append(Memory(f"{name}/l1", f"{name}/l2", (name,), 32 * KIB, "cache", curves=_curves("l1", cores)))
    return Platform(
        name=f"made-up-{cores}",
        kind="cpu",
        machine=f"made-up processor, {cores} cores",
        cores=tuple(
            Core(
                name,
                i,
                (f"{name}/l1", f"{name}/l2", "node0/l3", "ram"),
                {"global": "ram", "local": f"{name}/l2", "staging": f"{name}/l1"},
            )
            for i, name in enumerate(names)
        ),
        memories=tuple(memories),
        overheads=Overheads(call_s=1e-6, task_s=5e-8, handoff_s=1e-6, wake_s=2e-5),
        source="datasheet",
    )


def scratchpad_machine(cores: int = 8, local_bytes: int = MIB) -> Platform:
    """An accelerator of `cores` cores with a private scratchpad each and memory behind one shared cache."""
    names = tuple(f"core{i}" for i in range(cores))
    memories = [
        Memory("hbm", None, names, 32 * GIB, "ram", curves=_curves("ram", cores)),
        Memory("l2", "hbm", names, 16 * MIB, "cache", curves=_curves("l3", cores)),
    ]
    for name in names:
        memories.append(Memory(f"{name}/l1", "l2", (name,), local_bytes, "scratchpad", curves=_curves("l2", cores)))
        memories.append(
            Memory(f"{name}/ub", f"{name}/l1", (name,), 256 * KIB, "scratchpad", curves=_curves("l1", cores))
        )
    return Platform(
        name=f"made-up-accelerator-{cores}",
        kind="npu",
        machine=f"made-up accelerator, {cores} cores",
        cores=tuple(
            Core(
                name,
                i,
                (f"{name}/ub", f"{name}/l1", "l2", "hbm"),
                {"global": "hbm", "local": f"{name}/l1", "staging": f"{name}/ub"},
            )
            for i, name in enumerate(names)
        ),
        memories=tuple(memories),
        overheads=Overheads(call_s=5e-6, task_s=2e-7, handoff_s=2e-6, wake_s=2e-6),
        source="datasheet",
    )


def _curves(level: str, cores: int) -> tuple[Curve, ...]:
    row_s, byte_s = _SPEEDS[level]
    shared = level in ("l3", "ram")
    points = []
    for active in sorted({1, cores}):
        # Shared levels get half as fast again when all cores are at it.
        slower = 1.5 if shared and active > 1 else 1.0
        points += [
            Curve("gather", row_bytes, active, "huge", slower * row_s * (0.5 + 0.5 * row_bytes / 64))
            for row_bytes in (16, 64, 256, 1024)
        ]
        points += [Curve(access, 0, active, "huge", slower * byte_s) for access in ("read", "write")]
        points.append(Curve("stream_write", 0, active, "huge", slower * 1.2e-10))
    return (*points, Curve("latency", 0, 1, "huge", row_s * 6))
