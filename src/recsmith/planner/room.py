"""What cores' private memories still hold."""

from __future__ import annotations

from collections import defaultdict

from recsmith.spec import PlanError, Platform, Role, Shard, Strategy, Table


class Room:
    """Keeps count of what is placed in the cores' private memories.

    Args:
        platform: whose memories.
    """

    def __init__(self, platform: Platform) -> None:
        sizes = {memory.id: memory.capacity_bytes for memory in platform.memories}
        self._capacity = {
            (core.id, role): sizes[memory] for core in platform.cores for role, memory in core.roles.items()
        }
        self._kept: dict[tuple[str, Role], dict[tuple[Shard, int], int]] = defaultdict(dict)

    @property
    def local_bytes(self) -> int:
        """Private memory of all cores together, empty."""
        return sum(nbytes for (_, role), nbytes in self._capacity.items() if role == "local")

    def local_bytes_of(self, core: str) -> int:
        """Private memory of `core`, empty; 0 when it has none."""
        return self._capacity.get((core, "local"), 0)

    def fits(self, core: str, strategy: Strategy, table: Table, shard: Shard) -> bool:
        """Whether `shard` under `strategy` can be placed on `core` beside what is there."""
        return all(
            (core, role) in self._capacity
            and self._needed(core, role, (shard, strategy.together), nbytes) <= self._capacity[core, role]
            for role, nbytes in strategy.resident(table, shard).items()
        )

    def place(self, core: str, strategy: Strategy, table: Table, shard: Shard) -> None:
        """Note that `shard` is placed on `core`."""
        for role, nbytes in strategy.resident(table, shard).items():
            self._kept[core, role][shard, strategy.together] = nbytes

    def _needed(self, core: str, role: Role, shard: tuple[Shard, int], nbytes: int) -> int:
        kept = self._kept[core, role]
        if role != "local":
            return nbytes
        return sum(kept.values()) + (0 if shard in kept else nbytes)


def local_bytes(strategy: Strategy, table: Table, shard: Shard) -> int:
    """Bytes that `shard` would keep for good in a core's private memory."""
    return strategy.resident(table, shard).get("local", 0)


def nothing_fits(feature: str, table: Table, strategies: tuple[str, ...], cores: int) -> PlanError:
    """The error for a feature that none of the strategies can serve."""
    return PlanError(
        "plan",
        f"no placement of table '{table.name}' ({table.nbytes:,} bytes, feature '{feature}') fits the private memory "
        f"of {'one core' if cores == 1 else f'{cores} cores'} with strategies {', '.join(strategies)}",
        "Allow strategy 'gm', or a planner that splits tables ('greedy', 'ilp').",
    )
