"""A platform with fewer cores: what `--threads N` means."""

from __future__ import annotations

from msgspec.structs import replace

from recsmith.spec import PlanError, Platform


def restrict(platform: Platform, cores: int) -> Platform:
    """The same machine with its first `cores` cores only.

    Probed platforms list one core of each physical core first, so the first ones share least.

    Raises:
        PlanError: it has not that many.
    """
    if not 1 <= cores <= len(platform.cores):
        raise PlanError(
            "platform",
            f"{cores} cores were asked for; '{platform.name}' has {len(platform.cores)} that may be used",
            f"Choose 1 to {len(platform.cores)}.",
        )
    kept = platform.cores[:cores]
    names = {core.id for core in kept}
    memories = [
        replace(memory, cores=tuple(core for core in memory.cores if core in names)) for memory in platform.memories
    ]
    return replace(
        platform,
        cores=tuple(replace(core, siblings=tuple(id for id in core.siblings if id in names)) for core in kept),
        memories=tuple(memory for memory in memories if memory.cores),
    )
