"""What is known of a GPU before anybody measured it: figures with their sources, and the machine they make.

A streaming multiprocessor (SM) is a core. `global` is device memory behind the L2, `local` shared memory that holds
tables, `staging` the rest of shared memory. Seconds are modelled: bytes at the rate of the SM or at its share of the
chip's rate, or instructions at the rate at which an SM starts them, whichever takes longest. SMs of a cluster read each
other's shared memory: together it is their `group` memory. Tables that device memory does not hold lie in the `host`'s.
"""

from __future__ import annotations

import math
from pathlib import Path

from recsmith.spec import Core, Curve, Memory, Overheads, Platform, Record
from recsmith.spec.platform import Role, RowAccess

ROW_BYTES = (16, 32, 64, 128, 256, 512, 1024)
STAGING_BYTES = 32 * 1024
"""Of shared memory, for two chunks of a streamed table."""
SECTOR_BYTES = 32
"""What caches of the GPU fetch at a time."""
BURST_BYTES = 64
"""What device memory yields at a time."""
INSTRUCTIONS_PER_BYTE: dict[RowAccess, float] = {"copy": 17.5 / 256, "gather": 24 / 256}
"""Warp instructions: 140 for eight rows of 256 bytes that are copied, 17.5 a row, counted in machine code for 9.0; rows
of fp16 that are added up take about seven more (ours)."""
TASK_S = 2e-8
"""A placement in the list of an SM, modelled: its warps go on to the next one without waiting for each other."""
TENSOR_SHARE = 0.1
"""Of the tensor cores' rate, what small products of 27 vectors get, modelled."""

_FOLDER = Path(__file__).parent / "chips"


class Figure(Record, frozen=True):
    """A number and where it is from."""

    value: float
    source: str


class Chip(Record, frozen=True):
    """A GPU by its figures.

    Attributes:
        title: as the driver names it.
        compute_capability: such as "9.0".
        figures: name to number; names end in their unit.
    """

    name: str
    title: str
    compute_capability: str
    figures: dict[str, Figure]

    def __getitem__(self, name: str) -> float:
        return self.figures[name].value

    @property
    def sms(self) -> int:
        """Streaming multiprocessors."""
        return int(self["sms"])


def names() -> tuple[str, ...]:
    """The chips there are figures of."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


def chip(name: str) -> Chip:
    """The figures of the chip called `name`."""
    return Chip.open(_FOLDER / f"{name}.json")


def machine_name(title: str, compute_capability: str, sms: int) -> str:
    """What identifies a GPU to people and to `compile`: the same for a modelled and a probed one."""
    return f"{title}, sm_{compute_capability.replace('.', '')}, {sms} SMs"


def modelled(chip: Chip) -> Platform:
    """The chip as a platform; nothing of it was measured here."""
    sms = tuple(f"sm{at}" for at in range(chip.sms))
    memories = [
        Memory("hbm", None, sms, int(chip["hbm_bytes"]), "ram", curves=_hbm(chip), line_bytes=BURST_BYTES),
        Memory("l2", "hbm", sms, int(chip["l2_bytes"]), "cache", curves=_l2(chip), line_bytes=SECTOR_BYTES),
    ]
    for sm in sms:
        memories += _private(chip, sm)
    if _clusters(chip):
        together = int(chip["cluster_sms"]) * _local_bytes(chip)
        memories.append(Memory("cluster", "l2", sms, together, "remote", persistent=False, curves=_cluster(chip)))
    host = int(chip["host_bytes"])
    memories.append(Memory("host", None, sms, host, "remote", curves=_host(chip), line_bytes=SECTOR_BYTES))
    return Platform(
        name=chip.name,
        kind="cuda",
        machine=machine_name(chip.title, chip.compute_capability, chip.sms),
        cores=tuple(_core(chip, sm, at) for at, sm in enumerate(sms)),
        memories=tuple(memories),
        overheads=overheads(chip),
        capabilities=capabilities(chip),
        source="datasheet",
        notes=notes(chip),
        factors={"products": chip["flops_per_s"] / (TENSOR_SHARE * chip["tensor_flops_per_s"])},
    )


def capabilities(chip: Chip) -> tuple[str, ...]:
    """What it can do, and how it differs from a processor that runs the caller too."""
    arch = f"sm_{chip.compute_capability.replace('.', '')}"
    clusters = (f"cluster:{int(chip['cluster_sms'])}",) if _clusters(chip) else ()
    return (f"isa:{arch}", "launched", "hides-latency", "page:huge", *clusters)


def overheads(chip: Chip) -> Overheads:
    """Of work that is a node of a graph: the id's trip and the row's come on top of the node's own time."""
    trips = chip["l2_latency_s"] + chip["hbm_latency_s"]
    return Overheads(call_s=trips, task_s=TASK_S, handoff_s=chip["graph_node_s"], wake_s=chip["launch_s"])


def notes(chip: Chip) -> tuple[str, ...]:
    """Where the figures are from, one sentence a source."""
    by_source: dict[str, list[str]] = {}
    for name, figure in chip.figures.items():
        by_source.setdefault(figure.source, []).append(f"{name} {figure.value:g}")
    return (
        "Modelled: nobody has run recsmith on this GPU; `recsmith measure --platform cuda` replaces all speeds.",
        *(f"{', '.join(found)}: {source}." for source, found in by_source.items()),
    )


def _core(chip: Chip, sm: str, at: int) -> Core:
    cluster: dict[Role, str] = {"group": "cluster"} if _clusters(chip) else {}
    return Core(
        id=sm,
        index=at,
        memories=(f"{sm}/l1", f"{sm}/shared", f"{sm}/staging", *cluster.values(), "l2", "hbm"),
        roles={"global": "hbm", "local": f"{sm}/shared", "staging": f"{sm}/staging", "host": "host", **cluster},
        flops_per_s=chip["flops_per_s"] / chip.sms,
    )


def _private(chip: Chip, sm: str) -> list[Memory]:
    """What an SM has for itself: one array that is part cache, part shared memory, which a launch finds empty."""
    shared = _scratchpad(chip)
    local_bytes = _local_bytes(chip)
    cache_bytes = int(chip["l1_bytes"] - chip["shared_bytes"])
    return [
        Memory(f"{sm}/l1", "l2", (sm,), cache_bytes, "cache", line_bytes=SECTOR_BYTES, curves=_l1(chip)),
        Memory(f"{sm}/shared", "l2", (sm,), local_bytes, "scratchpad", persistent=False, curves=shared),
        Memory(f"{sm}/staging", f"{sm}/shared", (sm,), STAGING_BYTES, "scratchpad", persistent=False, curves=shared),
    ]


def _local_bytes(chip: Chip) -> int:
    return int(chip["shared_bytes_per_block"]) - STAGING_BYTES


def _clusters(chip: Chip) -> bool:
    """Whether SMs read each other's shared memory, and something is said of how fast."""
    return chip["cluster_sms"] > 1 and "cluster_bytes_per_clock" in chip.figures


def _hbm(chip: Chip) -> tuple[Curve, ...]:
    level = _Level(chip, BURST_BYTES, chip["hbm_bytes_per_s"], chip["hbm_write_bytes_per_s"], chip["hbm_latency_s"])
    return level.curves()


def _l2(chip: Chip) -> tuple[Curve, ...]:
    level = _Level(chip, SECTOR_BYTES, chip["l2_bytes_per_s"], chip["l2_write_bytes_per_s"], chip["l2_latency_s"])
    return level.curves()


def _l1(chip: Chip) -> tuple[Curve, ...]:
    """Reads of its own. What is written goes on to the L2; a buffer large enough to matter is not found here."""
    level = _Level(chip, SECTOR_BYTES, math.inf, math.inf, chip["l1_latency_s"])
    return level.curves(chip["l1_bytes_per_clock"])


def _scratchpad(chip: Chip) -> tuple[Curve, ...]:
    level = _Level(chip, 16, math.inf, math.inf, chip["l1_latency_s"])
    return level.curves(chip["shared_bytes_per_clock"])


def _host(chip: Chip) -> tuple[Curve, ...]:
    """Rows of pinned host memory, which all SMs read across one bus."""
    rate = chip["pcie_bytes_per_s"]
    return tuple(c for c in _Level(chip, SECTOR_BYTES, rate, rate, 0.0).curves() if c.access != "latency")


def _cluster(chip: Chip) -> tuple[Curve, ...]:
    """Of all SMs together, as each has its share of the network between them."""
    rate = chip["cluster_bytes_per_clock"] * chip["clock_hz"] * chip.sms
    return _Level(chip, 16, rate, math.inf, chip["cluster_latency_s"]).curves(chip["cluster_bytes_per_clock"])


class _Level:
    """Seconds at one level of memory; rates are the chip's, infinite for what each SM has for itself."""

    def __init__(
        self, chip: Chip, unit_bytes: int, read_bytes_per_s: float, write_bytes_per_s: float, latency_s: float
    ) -> None:
        self._chip = chip
        self._unit_bytes = unit_bytes
        self._read, self._write = read_bytes_per_s, write_bytes_per_s
        self._latency_s = latency_s

    def curves(self, bytes_per_clock: float = 0.0) -> tuple[Curve, ...]:
        """All curves; `bytes_per_clock` of an SM alone, from the L2 when 0."""
        clock = self._chip["clock_hz"]
        own = (bytes_per_clock or self._chip["sm_bytes_per_clock"]) * clock
        found = []
        for active in self._crews(own):
            for size in ROW_BYTES:
                seconds = _moved_bytes(size, self._unit_bytes) * max(1 / own, active / self._read)
                for access, instructions in INSTRUCTIONS_PER_BYTE.items():
                    issue_s = size * instructions / (self._chip["instructions_per_clock"] * clock)
                    found.append(Curve(access, size, active, "huge", max(seconds, issue_s)))
            found.append(Curve("read", 0, active, "huge", max(1 / own, active / self._read)))
            written_s = max(1 / own, active / self._write)
            found.append(Curve("write", 0, active, "huge", written_s))
            found.append(Curve("stream_write", 0, active, "huge", written_s))
        return (*found, Curve("latency", 0, 1, "huge", self._latency_s))

    def _crews(self, own: float) -> list[int]:
        """Numbers of SMs between which seconds are straight lines."""
        sms = self._chip.sms if math.isfinite(self._read) else 1
        knees = {math.floor(rate / own) for rate in (self._read, self._write) if math.isfinite(rate)}
        return sorted({1, sms} | {knee for knee in knees if 1 < knee < sms})


def _moved_bytes(row_bytes: int, unit_bytes: int) -> float:
    """Bytes that come along with a row, on average over the places where rows start."""
    if row_bytes % unit_bytes == 0 or unit_bytes % row_bytes == 0:
        return float(-(-row_bytes // unit_bytes) * unit_bytes)
    return unit_bytes + row_bytes - 4.0
