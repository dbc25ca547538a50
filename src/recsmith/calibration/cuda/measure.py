"""A GPU's platform with the speeds of the one that is here."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from recsmith.kernels.cuda.device import Device
from recsmith.kernels.cuda.hashed import GROUPED, GROUPED_ON
from recsmith.spec import Curve, Memory, Overheads, Platform, Progress, UnavailableError

from .probes import Probes, Sizes
from .products import chosen, tried, tried_apart

ROW_BYTES = (32, 64, 128, 256, 512, 1024)
BUDGET_S = 120.0
_BAG = 32


@dataclass(frozen=True, slots=True)
class Footprints:
    """Bytes over which random rows are spread to be found at one level only."""

    hbm: int = 8 << 30
    l2: int = 16 << 20
    l1: int = 16 << 10
    shared: int = 96 << 10
    host: int = 256 << 20
    written: Mapping[str, int] = field(default_factory=lambda: {"hbm": 1 << 30, "l2": 8 << 20})


def measure(
    platform: Platform,
    *,
    device: Device | None = None,
    budget_s: float = BUDGET_S,
    row_bytes: Sequence[int] = ROW_BYTES,
    sizes: Sizes | None = None,
    footprints: Footprints | None = None,
    command: str = "recsmith measure --platform cuda",
    progress: Progress | None = None,
) -> Platform:
    """`platform` with measured curves and overheads; `calibration.cuda` says which.

    Args:
        platform: the GPU that is here, probed.
        device: the first GPU when None.
        budget_s: when it is used up, the rest stays modelled, and a note says what.
        row_bytes: sizes of rows.
        command: what to write down as the command that measured it.
        progress: told how many of the steps are done.

    Raises:
        UnavailableError: there is no GPU, or it is another one.
    """
    gpu = device or Device()
    if not platform.machine.startswith(f"{gpu.name},"):
        raise UnavailableError(
            "measure",
            f"'{platform.machine}' was asked for, and this is '{gpu.name}'",
            "Measure on that machine; its profile can then be used here.",
        )
    # What was found out before says nothing now.
    asked = tuple(each for each in platform.capabilities if not each.startswith(("clusters:", GROUPED)))
    platform = replace(platform, capabilities=asked)
    together = tuple(size for size in (2, 4, 8) if platform.groups(size) and gpu.attribute("clusters"))
    probes = Probes(gpu, len(platform.cores), sizes)
    clusters = {size: probes.clusters(_local_bytes(platform), size) for size in together}
    largest = max((size for size, count in clusters.items() if count), default=0)
    steps = _Steps(probes, footprints or Footprints(), budget_s, progress, largest)
    has_host = any("host" in core.roles for core in platform.cores)
    more = [name for name, there in (("cluster", largest), ("host", has_host)) if there]
    curves = steps.curves(tuple(row_bytes), ("hbm", "l2", "l1", "shared", *more))
    overheads, bus = steps.overheads(platform.overheads), steps.bus()
    # Last: no other kernel was never run before.
    if progress:
        progress("decoders", 0, 1)
    grouped, said = _products(gpu, sizes or Sizes(), apart=device is None)
    if progress:
        progress("decoders", 1, 1)
    memories = tuple(replace(m, curves=merged(m, curves, len(platform.cores))) for m in platform.memories)
    return replace(
        platform,
        memories=memories,
        overheads=overheads,
        capabilities=(
            *platform.capabilities,
            *(f"clusters:{size}x{count}" for size, count in clusters.items()),
            *grouped,
        ),
        source="measured",
        command=command,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        notes=(*_kept(platform), *steps.notes, *bus, *said),
    )


def _products(gpu: Device, sizes: Sizes, *, apart: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Capabilities and notes: of which products decoders are made."""
    if gpu.architecture != GROUPED_ON or not sizes.decoders:
        return (), ()
    found, problem = tried_apart() if apart else (tried(gpu, sizes), "")
    if problem:
        return (), (f"wgmma could not be tried: {problem}. Decoders are multiplied by mma.sync.",)
    return chosen(found), tuple(one.note for one in found)


def merged(memory: Memory, measured: Mapping[str, Sequence[Curve]], sms: int) -> tuple[Curve, ...]:
    """The memory's curves with those measured in the place of modelled ones, by the last part of its id.

    Fewer multiprocessors than all stay modelled, but are never slower each than all are together.
    """
    name = memory.id.rpartition("/")[2]
    found = {(c.access, c.row_bytes): c for c in measured.get("shared" if name == "staging" else name, ())}
    kept = []
    for curve in memory.curves:
        new = found.get((curve.access, curve.row_bytes))
        if new is None:
            kept.append(curve)
        elif curve.active_cores < sms and len(memory.cores) > 1:
            kept.append(replace(curve, seconds=min(curve.seconds, new.seconds)))
    for new in found.values():
        active = sms if len(memory.cores) > 1 else 1
        kept.append(replace(new, active_cores=active))
    return tuple(kept)


class _Steps:
    """All measurements, as long as there is time."""

    def __init__(
        self, probes: Probes, footprints: Footprints, budget_s: float, progress: Progress | None, together: int
    ) -> None:
        self._probes, self._footprints, self._together = probes, footprints, together
        self._end = time.monotonic() + budget_s
        self._progress = progress
        self._written_s = 0.0
        self.notes: list[str] = []

    def curves(self, row_bytes: tuple[int, ...], levels: Sequence[str]) -> dict[str, list[Curve]]:
        """Level to what was measured of it; sizes in an order in which an early end leaves most."""
        found: dict[str, list[Curve]] = {level: [] for level in levels}
        for level, nbytes in self._footprints.written.items():
            seconds = self._probes.write_byte_s(nbytes)
            self._written_s = max(self._written_s, seconds)
            found[level] += [Curve("write", 0, 0, "huge", seconds), Curve("stream_write", 0, 0, "huge", seconds)]
        todo = [(level, size) for size in sorted(row_bytes, key=_telling) for level in found]
        left = []
        for done, (level, size) in enumerate(todo):
            if time.monotonic() > self._end:
                left.append(f"{level} {size} B")
                continue
            found[level] += self._rows(level, size)
            if self._progress is not None:
                self._progress("memories", done + 1, len(todo))
        if left:
            self.notes.append(f"Time was up: modelled remain {', '.join(left)}.")
        self.notes.append("Measured with all multiprocessors at work; with fewer, curves are modelled.")
        return found

    def overheads(self, modelled: Overheads) -> Overheads:
        """A node, the trips of one row, a segment, a launch."""
        node = self._probes.node_s()
        trips = max(self._probes.one_row_s() - node, 0.0)
        return Overheads(trips, self._probes.segment_s(), node, self._probes.launch_s())

    def bus(self) -> tuple[str, ...]:
        """What a copy across the bus reaches."""
        up, back = self._probes.bus_bytes_per_s()
        return (f"Pinned memory to the GPU {up / 1e9:.1f} GB/s, back {back / 1e9:.1f} GB/s.",)

    def _rows(self, level: str, size: int) -> list[Curve]:
        if level in ("shared", "cluster"):
            together = self._together if level == "cluster" else 1
            seconds = self._probes.owned_row_s(size, self._footprints.shared, together)
            return [Curve("gather", size, 0, "huge", seconds), Curve("copy", size, 0, "huge", seconds)]
        footprint = getattr(self._footprints, level)
        pinned = level == "host"
        gather = self._probes.random_row_s(size, footprint, _BAG, pinned=pinned)
        copied = self._probes.random_row_s(size, footprint, 1, pinned=pinned) - size * self._written_s
        found = [Curve("gather", size, 0, "huge", gather), Curve("copy", size, 0, "huge", max(copied, gather))]
        return [*found, Curve("read", 0, 0, "huge", gather / size)] if size == max(ROW_BYTES) else found


def _local_bytes(platform: Platform) -> int:
    return platform.bind(platform.cores[0].id, "local").capacity_bytes


def _telling(row_bytes: int) -> int:
    order = (256, 32, 1024, 64, 128, 512)
    return order.index(row_bytes) if row_bytes in order else len(order)


def _kept(platform: Platform) -> tuple[str, ...]:
    return tuple(note for note in platform.notes if "modelled" not in note.lower())
