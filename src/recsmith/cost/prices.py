"""Prices of works on one machine, remembered: planners ask for the same ones again and again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from recsmith.spec import Estimate, Memory, Request, Stream, Work

from .coefficients import Coefficients
from .contention import SharedCache, Traffic, shares
from .footprint import Footprint, footprint
from .machine import Machine, label

Works = tuple[Work, ...]
Path = tuple[Memory, ...]
Caches = Mapping[str, SharedCache]
Source = Literal["modelled", "fitted"]

_KEPT = 20_000
_ID_BYTES = 8


class Prices:
    """What works cost on one machine.

    Args:
        machine: levels and speeds.
        fit: how the parts come together.
        source: where the speeds came from.
    """

    def __init__(self, machine: Machine, fit: Coefficients, source: Source) -> None:
        self._machine = machine
        self._fit = fit
        self._source: Source = source
        self._traffic: dict[tuple[object, ...], Traffic] = {}
        self._caches: dict[tuple[object, ...], SharedCache] = {}
        self._priced: dict[tuple[object, ...], tuple[Estimate, ...]] = {}
        # Works are told apart by identity, which is quick; holding on to them keeps identities unique.
        self._held: dict[int, Work] = {}

    def loads(self, work: Mapping[str, Works]) -> dict[str, tuple[Estimate, ...]]:
        """Seconds of each work on each core when all cores run at the same time."""
        if max(len(self._held), len(self._caches)) > _KEPT:
            self._forget()
        self._held.update({id(w): w for works in work.values() for w in works})
        traffic = {core: self._traffic_of(core, works) for core, works in work.items()}
        caches = {m.id: self._cache(m, traffic) for m in self._machine.caches if any(c in traffic for c in m.cores)}
        active_cores = sum(1 for works in work.values() if works)
        return {core: self._price(core, works, caches, active_cores) for core, works in work.items()}

    def _forget(self) -> None:
        self._held.clear()
        self._traffic.clear()
        self._caches.clear()
        self._priced.clear()

    def _traffic_of(self, core: str, works: Works) -> Traffic:
        named = all(request.rows for work in works for request in work.requests)
        key = ("" if named else core, *map(id, works))
        if key not in self._traffic:
            self._traffic[key] = self._count(core, works)
        return self._traffic[key]

    def _count(self, core: str, works: Works) -> Traffic:
        traffic = Traffic()
        for at, work in enumerate(works):
            for request in work.requests:
                path = self._machine.path(core, request.role)
                if len(path) > 1 and request.count > 0:
                    traffic.ask(_rows(request, core, at), request.count, _footprint(request, path[0]))
            for stream in work.streams:
                if len(self._machine.path(core, stream.role)) == 1:
                    continue
                if stream.rows:
                    traffic.stream(stream.rows, stream.nbytes)
                else:
                    traffic.fresh_bytes += stream.nbytes
            traffic.fresh_bytes += work.ids_bytes
            traffic.own_bytes += work.written_bytes if work.tuning.stores == "regular" else 0.0
        return traffic

    def _cache(self, memory: Memory, traffic: Mapping[str, Traffic]) -> SharedCache:
        users = [traffic[core] for core in memory.cores if core in traffic]
        key = (memory.capacity_bytes, *map(id, users))
        if key not in self._caches:
            self._caches[key] = SharedCache(users, memory.capacity_bytes)
        return self._caches[key]

    def _price(self, core: str, works: Works, caches: Caches, active_cores: int) -> tuple[Estimate, ...]:
        path = self._machine.path(core, "global")
        key = (*(id(caches[m.id]) for m in path[:-1]), *(m.id for m in path), active_cores, *map(id, works))
        if key not in self._priced:
            short = active_cores == 1 and sum(w.ids_bytes for w in works) <= self._fit.short_ids * _ID_BYTES
            at_work = _CoreAtWork(
                self._machine, self._fit, core, caches, active_cores, setup_s=0.0 if short else self._fit.setup_s
            )
            self._priced[key] = tuple(_estimate(at_work.parts(at, w), self._source) for at, w in enumerate(works))
        return self._priced[key]


class _CoreAtWork:
    """One core, with the caches as all cores' loads leave them. What does not depend on the work is worked out once."""

    def __init__(
        self, machine: Machine, fit: Coefficients, core: str, caches: Caches, active_cores: int, *, setup_s: float
    ) -> None:
        self._machine = machine
        self._core = core
        self._caches = caches
        self._active_cores = active_cores
        path = machine.path(core, "global")
        self._ids_s = fit.ids * machine.stream_s(path[-1], "read", active_cores)
        self._store_s = self._write_s(path, fit.near_write, fit.far_write)
        self._store_apart_s = max(self._write_apart_s(path, fit), self._store_s)
        self._stream_s = fit.stream_write * machine.stream_s(path[-1], "stream_write", active_cores)
        self._task_s = machine.platform.overheads.task_s + setup_s
        self._flops_per_s = machine.flops_per_s(core)

    def _write_s(self, path: Path, near: float, far: float) -> float:
        """Seconds per byte of ordinary stores, by which level still holds the buffer, private ones scaled by `near`."""
        held = shares([self._caches[memory.id].cyclic for memory in path[:-1]])
        return sum(
            part
            * (near if len(memory.cores) == 1 else far)
            * self._machine.stream_s(memory, "write", self._active_cores)
            for memory, part in zip(path, held, strict=True)
            if part > 0
        )

    def _write_apart_s(self, path: Path, fit: Coefficients) -> float:
        """The same for lines that cores write side by side: they go back and forth through the caches they share."""
        private = [self._caches[memory.id].cyclic for memory in path[:-1] if len(memory.cores) == 1]
        shared = tuple(memory for memory in path if len(memory.cores) > 1) or path[-1:]
        near = max(private, default=0.0)
        scale = near * fit.near_apart_write + (1 - near) * fit.far_apart_write
        return scale * self._write_s(shared, 1.0, 1.0)

    def parts(self, at: int, work: Work) -> dict[str, float]:
        """Seconds of each part of the core's work number `at`."""
        parts: dict[str, float] = {}
        for request in work.requests:
            if request.count > 0:
                self._add_rows(parts, request, _rows(request, self._core, at), work.vectors / request.count)
        for stream in work.streams:
            self._add_stream(parts, stream)
        parts["ids"] = work.ids_bytes * self._ids_s
        if self._flops_per_s > 0:
            parts["arithmetic"] = max(0.0, work.flops / self._flops_per_s - sum(parts.values()))
        parts["output"] = work.written_bytes * self._output_s(work)
        parts["task"] = self._task_s
        return parts

    def _output_s(self, work: Work) -> float:
        """Seconds per byte written."""
        if work.tuning.stores == "stream":
            return self._stream_s
        return self._store_apart_s if work.interleaved else self._store_s

    def _add_rows(self, parts: dict[str, float], request: Request, rows: str, alone: float) -> None:
        path = self._machine.path(self._core, request.role)
        row_s = self._machine.gather_s(path, request.row_bytes, self._active_cores, alone)
        inside = 0.0
        if len(path) > 1:
            key = (rows, _footprint(request, path[0]))
            for memory, seconds in zip(path, row_s, strict=True):
                found = self._caches[memory.id].found[key] if memory.kind == "cache" else 1.0
                if found > inside:
                    _add(parts, "rows " + label(memory), request.count * (found - inside) * seconds)
                    inside = found
        else:
            _add(parts, "rows " + label(path[0]), request.count * row_s[0])

    def _add_stream(self, parts: dict[str, float], stream: Stream) -> None:
        path = self._machine.path(self._core, stream.role)
        found = [self._caches[m.id].cyclic if stream.rows else 0.0 for m in path[:-1]]
        for memory, share in zip(path, shares(found), strict=True):
            if share > 0:
                seconds = self._machine.stream_s(memory, "read", self._active_cores)
                _add(parts, "stream " + label(memory), stream.nbytes * share * seconds)


def _estimate(parts: Mapping[str, float], source: Source) -> Estimate:
    kept = {part: seconds for part, seconds in parts.items() if seconds > 0}
    return Estimate(sum(kept.values()), kept, source)


def _add(parts: dict[str, float], part: str, seconds: float) -> None:
    parts[part] = parts.get(part, 0.0) + seconds


def _rows(request: Request, core: str, at: int) -> str:
    return request.rows or f"{core} {at}"


def _footprint(request: Request, memory: Memory) -> Footprint:
    return footprint(request.popularity, request.row_bytes, memory.line_bytes)
