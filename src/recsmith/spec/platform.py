"""What a machine is: a tree of cores and memories with measured curves. All of it data."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from .arithmetic import Arithmetic
from .errors import PlanError
from .record import Record
from .row_format import RowDtype

Role = Literal["global", "local", "staging", "group", "host"]
Page = Literal["4k", "huge"]
RowAccess = Literal["gather", "copy"]
PrefetchLevel = Literal["none", "t0", "t1", "nta"]


class Tuning(Record, frozen=True):
    """Kernel parameters, found by measurement and never tuned at request time.

    Attributes:
        prefetch_distance: rows ahead of the one being read; 0 asks for none.
        prefetch_level: which cache the hint names.
        block: samples served by one kernel call before the next feature; 0 takes all of them.
        stores: `regular`, or `stream` past the caches.
    """

    prefetch_distance: int = 0
    prefetch_level: PrefetchLevel = "none"
    block: int = 0
    stores: Literal["regular", "stream"] = "regular"


class Curve(Record, frozen=True):
    """One measured point of a memory.

    Attributes:
        access: of random rows, `seconds` being per row and core: `gather`, added up in bags by the look-up kernel;
            `copy`, each written out by it (bags of one); `reader`, the ceiling: rows behind a list of pointers,
            written nowhere. Sequential, per byte and core: `read`, `write`, `stream_write`. `latency`: dependent
            loads, each.
        row_bytes: bytes a row, for random rows; of writes, the vectors of one column of an array, which lie apart;
            0 for what is in order.
        active_cores: cores doing the same at the same time.
        page: page size behind the memory.
        iqr_s: interquartile range of `seconds`.
        tuning: the kernel parameters that gave it.
        dtype: how the rows were stored, for `gather` and `copy`.
        batch: samples a kernel call, where that was found to matter; 0 means many.
    """

    access: Literal["gather", "copy", "reader", "read", "write", "stream_write", "latency"]
    row_bytes: int
    active_cores: int
    page: Page
    seconds: float
    iqr_s: float = 0.0
    tuning: Tuning = Tuning()
    dtype: RowDtype = "fp32"
    batch: int = 0


class Widening(Record, frozen=True):
    """Bags of random rows spread over two ranges of one memory, in turns: fewer addresses of a wider one are translated
    near the core.

    Attributes:
        narrow_bytes: as wide as the rows of the memory's curves were spread.
        narrow_s, wide_s: seconds a row and core.
    """

    row_bytes: int
    active_cores: int
    page: Page
    narrow_bytes: int
    wide_bytes: int
    narrow_s: float
    wide_s: float

    @property
    def slope(self) -> float:
        """Seconds a row for each byte more; never below 0, since noise alone says so."""
        return max(0.0, self.wide_s - self.narrow_s) / (self.wide_bytes - self.narrow_bytes)


class Memory(Record, frozen=True):
    """A memory that some cores reach.

    Attributes:
        parent: the next memory outwards, or None for the outermost.
        cores: ids of the cores that reach it.
        capacity_bytes: what can be used of it.
        kind: a `cache` fills itself; a `scratchpad` holds what it is told to.
        persistent: keeps its content from one batch to the next.
        tuned: the best kernel parameters for each row size and batch, found by `recsmith measure --tune`: `gather`
            for bags of many ids, `copy` for bags of one. Their `seconds` are of the kernel as timed then.
        reported_bytes: what the operating system says it holds, which in a virtual machine may be a whole
            host's cache; 0 when unknown.
        widenings: what it costs that rows are spread far; empty where nobody measured it.
    """

    id: str
    parent: str | None
    cores: tuple[str, ...]
    capacity_bytes: int
    kind: Literal["cache", "scratchpad", "ram", "remote"]
    persistent: bool = True
    line_bytes: int = 64
    curves: tuple[Curve, ...] = ()
    reported_bytes: int = 0
    tuned: tuple[Curve, ...] = ()
    widenings: tuple[Widening, ...] = ()

    def tuning(self, access: RowAccess, row_bytes: int, batch: int, active_cores: int, page: Page) -> Tuning | None:
        """The kernel parameters tuned or measured closest to what is asked; None when there are none."""
        points = [curve for curve in self.tuned if curve.access == access]
        points = points or [curve for curve in self.curves if curve.access == access]
        points = [curve for curve in points if curve.page == page] or points

        def distance(curve: Curve) -> tuple[float, float, int]:
            batches = abs(math.log(max(curve.batch, 1) / max(batch, 1)))
            return (abs(math.log(curve.row_bytes / row_bytes)), batches, abs(curve.active_cores - active_cores))

        return min(points, key=distance).tuning if points else None


class Core(Record, frozen=True):
    """Something that executes: a CPU core, an SM, an AI core.

    Attributes:
        id: path in the tree ("node0/cpu0/c3").
        index: the operating system's number.
        siblings: ids of cores that share its execution units (SMT).
        memories: ids of the memories it reaches, innermost first.
        roles: which memory a strategy means by `global`, `local` (private, keeps data), `staging` (private, scratch),
            `group` (the `local` memories of a few neighbouring cores, each of which reads all of them) and `host` (what
            tables lie in that `global` has no room for).
    """

    id: str
    index: int
    memories: tuple[str, ...]
    roles: dict[Role, str]
    siblings: tuple[str, ...] = ()
    flops_per_s: float = 0.0


class Overheads(Record, frozen=True):
    """Fixed costs of the executor, seconds.

    Attributes:
        call_s: one public call that looks nothing up.
        task_s: one placement on one core, its rows excluded.
        handoff_s: giving work to a core that is spinning, and hearing back.
        wake_s: the same for a core that sleeps.
    """

    call_s: float
    task_s: float
    handoff_s: float
    wake_s: float


class Platform(Record, frozen=True):
    """A machine.

    Attributes:
        kind: which executor can run on it ("cpu").
        machine: what identifies it to people and to `compile`: model name, instruction set.
        capabilities: what it can do that not all of its kind can ("isa:avx512", "page:huge"), or what sets its
            kind apart: "launched": no core is the caller's, all work is handed over; "hides-latency": a core has
            so many threads that hints to prefetch are of no use; "cluster:8": up to 8 neighbouring cores read each
            other's local memory; "clusters:4x32": in groups of 4, at most 32 groups at a time; "wgmma:bf16:128":
            decoders in bf16 are multiplied by warp groups in blocks of 128 rows, which was found right and faster
            there.
        source: `probed` from the operating system with default speeds, `measured` here, or `datasheet`.
        command: the command that measured it; empty otherwise.
        date: when, ISO 8601.
        notes: what was assumed or stands out, a sentence each.
        factors: part of an `Estimate` ("rows l2", "bags l2", "output ram") to what it takes in whole look-ups, in units
            of its seconds measured alone; fitted by `measure`, 1 for what is not named.
        arithmetic: what computing rows and MLPs costs; empty where nobody measured it.
    """

    name: str
    kind: str
    machine: str
    cores: tuple[Core, ...]
    memories: tuple[Memory, ...]
    overheads: Overheads
    capabilities: tuple[str, ...] = ()
    source: Literal["probed", "measured", "datasheet"] = "probed"
    command: str = ""
    date: str = ""
    notes: tuple[str, ...] = ()
    factors: dict[str, float] = msgspec.field(default_factory=dict)
    arithmetic: tuple[Arithmetic, ...] = ()
    version: int = 1

    def memory(self, id: str) -> Memory:
        """The memory called `id`.

        Raises:
            PlanError: there is none.
        """
        for memory in self.memories:
            if memory.id == id:
                return memory
        raise PlanError("platform", f"platform '{self.name}' has no memory '{id}'", "Check the profile.")

    def core(self, id: str) -> Core:
        """The core called `id`.

        Raises:
            PlanError: there is none.
        """
        for core in self.cores:
            if core.id == id:
                return core
        names = ", ".join(core.id for core in self.cores)
        raise PlanError("platform", f"platform '{self.name}' has no core '{id}'", f"Its cores are: {names}.")

    def groups(self, size: int) -> tuple[tuple[str, ...], ...]:
        """The groups of `size` neighbouring cores that read each other's local memory, each core in one at most.

        None where cores cannot, or not so many; of one core each, for every core there is.
        """
        cores = [core.id for core in self.cores]
        said = dict(capability.partition(":")[::2] for capability in self.capabilities)
        if size > 1 and int(said.get("cluster", 1)) < size:
            return ()
        limits = [c.partition(":")[2].split("x") for c in self.capabilities if c.startswith("clusters:")]
        most = next((int(count) for together, count in limits if int(together) == size), len(cores))
        return tuple(tuple(cores[at : at + size]) for at in range(0, len(cores) - size + 1, size))[:most]

    def bind(self, core: str, role: Role) -> Memory:
        """The memory that plays `role` for `core`."""
        return self.memory(self.core(core).roles[role])

    @property
    def main_bytes(self) -> int:
        """What the memories hold that its cores mean by `global`, each counted once."""
        return self._bytes_of("global")

    @property
    def table_bytes(self) -> int:
        """What tables may take in all: its main memories, and those of its host."""
        return self.main_bytes + self._bytes_of("host")

    def _bytes_of(self, role: Role) -> int:
        names = {core.roles[role] for core in self.cores if role in core.roles}
        return sum(self.memory(name).capacity_bytes for name in names)
