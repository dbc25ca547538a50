"""Prices of works on one machine, remembered: planners ask for the same ones again and again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from recsmith.spec import Estimate, Memory, Request, Stream, Work

from .contention import SharedCache, Traffic, shares
from .footprint import Footprint, footprint
from .machine import Machine, label

Works = tuple[Work, ...]
Path = tuple[Memory, ...]
Caches = Mapping[str, SharedCache]
Source = Literal["modelled", "fitted"]

_KEPT = 20_000
_ID_BYTES = 8
_ELEMENT_BYTES = 4
SHORT_IDS = 512
"""Ids in a batch up to which one core takes it by the executor's short cut."""
_WAY_BYTES = 4096
_CROWDED = {4096: 1.0, 2048: 0.7, 1024: 0.25}
"""How much output crowds the first cache, by the largest power of two, up to a way's bytes, in the distance between
samples; seen on a 2-core AMD EPYC (26/2/1) with 32 to 96 vectors of 16 or 32 elements, 2026-11-21."""
PRODUCTS = 2.3
"""Seconds of pairwise products in units of the processor's peak, transposing included: 27 vectors of 16 or 64 elements
took 105 and 380 ns a sample, of which 45 and 184 multiplying (one core of an AMD EPYC, 26/2/1, AVX-512, 2026-11-21)."""
_MOSTLY_ALONE = 0.5
"""Vectors a row above which a request counts as one of single rows, not of bags."""
_ENTRY_BYTES = 64
"""Listing an address and filing an id are counted in rows of so many bytes, of the nearest memory."""


class Prices:
    """What works cost on one machine.

    Args:
        machine: levels and speeds.
        source: where the speeds came from.
    """

    def __init__(self, machine: Machine, source: Source) -> None:
        self._machine = machine
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
            for stream in (*work.streams, *brought(self._machine, core, work)):
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
        key = (*(id(caches[m.id]) for m in path[:-1]), self._machine.kind(core), active_cores, *map(id, works))
        if key not in self._priced:
            short = active_cores == 1 and sum(w.ids_bytes for w in works) <= SHORT_IDS * _ID_BYTES
            at_work = _CoreAtWork(self._machine, core, caches, active_cores, short=short)
            self._priced[key] = tuple(_estimate(at_work.parts(at, w), self._source) for at, w in enumerate(works))
        return self._priced[key]


class _CoreAtWork:
    """One core, with the caches as all cores' loads leave them. What does not depend on the work is worked out once."""

    def __init__(self, machine: Machine, core: str, caches: Caches, active_cores: int, *, short: bool) -> None:
        self._machine = machine
        self._core = core
        self._caches = caches
        self._active_cores = active_cores
        self._short = short
        self._path = machine.path(core, "global")
        held = shares([caches[memory.id].cyclic for memory in self._path[:-1]])
        self._held = tuple((memory, share) for memory, share in zip(self._path, held, strict=True) if share > 0)
        row_s = machine.gather_s(self._path, _ENTRY_BYTES, active_cores, 1.0)
        self._near_row_s, self._far_row_s = row_s[0], row_s[-1]
        self._flops_per_s = machine.flops_per_s(core)

    def parts(self, at: int, work: Work) -> dict[str, float]:
        """Seconds of each part of the core's work number `at`."""
        parts: dict[str, float] = {}
        for request in work.requests:
            if request.count > 0:
                self._add_rows(parts, request, _rows(request, self._core, at), work.vectors / request.count)
        for stream in work.streams:
            self._add_stream(parts, stream, "stream")
        for stream in brought(self._machine, self._core, work):
            self._add_stream(parts, stream, "load")
        # Rows that come by in chunks are served in another order than their ids came.
        parts["filing"] = self._near_row_s * sum(r.count for r in work.requests if r.role == "staging")
        parts["ids"] = work.ids_bytes * self._machine.stream_s(self._path[-1], "read", self._active_cores)
        if work.written_bytes > 0:
            self._add_output(parts, work)
        overheads = self._machine.platform.overheads
        parts["task"] = overheads.task_s
        parts["setup"] = 0.0 if self._short else overheads.task_s
        parts = self._machine.in_company(parts)
        if self._flops_per_s > 0:
            parts["arithmetic"] = max(0.0, work.flops / self._flops_per_s - sum(parts.values()))
            factor = self._machine.platform.factors.get("products", PRODUCTS)
            parts["products"] = factor * 2 * work.products / self._flops_per_s
        return parts

    def _add_output(self, parts: dict[str, float], work: Work) -> None:
        """By the way vectors are written: feature by feature, in tiles, or beside other cores' columns."""
        in_order = work.tuning.block > 0 and _one_id_a_vector(work)
        if in_order:
            parts["tiles"] = work.vectors * self._near_row_s
        else:
            parts["output crowded"] = work.vectors * self._crowding(work) * self._far_row_s
        if work.interleaved and not in_order:
            parts["output beside others"] = work.vectors * self._far_row_s
        if work.tuning.stores == "stream":
            seconds = self._written_s(self._path[-1], "stream_write", work, in_order=in_order)
            return _add(parts, "output past caches", work.written_bytes * seconds)
        for memory, share in self._holders(work):
            seconds = self._written_s(memory, "write", work, in_order=in_order)
            _add(parts, f"output {label(memory)}", work.written_bytes * share * seconds)

    def _holders(self, work: Work) -> Sequence[tuple[Memory, float]]:
        """Which level still holds how much of the output buffer when it is written again.

        Lines that several cores write go back and forth through the first cache they share.
        """
        if not work.interleaved:
            return self._held
        meeting = next((memory for memory in self._path if len(memory.cores) > 1), self._path[-1])
        return [(meeting if len(memory.cores) == 1 else memory, share) for memory, share in self._held]

    @staticmethod
    def _crowding(work: Work) -> float:
        """1 when all vectors of a column fall into one set of the first cache, less for two or four, 0 for many."""
        return _CROWDED.get(math.gcd(work.apart_bytes, _WAY_BYTES), 0.0) if work.apart_bytes else 0.0

    def _written_s(self, memory: Memory, access: str, work: Work, *, in_order: bool) -> float:
        if in_order or work.vectors <= 0:
            return self._machine.stream_s(memory, access, self._active_cores)
        row_bytes = _ELEMENT_BYTES * round(work.written_bytes / work.vectors / _ELEMENT_BYTES)
        return self._machine.columns_s(memory, access, row_bytes, self._active_cores)

    def _add_rows(self, parts: dict[str, float], request: Request, rows: str, alone: float) -> None:
        path = self._machine.path(self._core, request.role)
        row_s = self._machine.gather_s(path, request.row_bytes, self._active_cores, alone)
        inside = 0.0
        kind = "rows " if alone > _MOSTLY_ALONE else "bags "
        if len(path) > 1:
            key = (rows, _footprint(request, path[0]))
            row_s = (*row_s[:-1], row_s[-1] + self._widened_s(path, request.row_bytes, row_s))
            for memory, seconds in zip(path, row_s, strict=True):
                found = self._caches[memory.id].found[key] if memory.kind == "cache" else 1.0
                if found > inside:
                    _add(parts, kind + label(memory), request.count * (found - inside) * seconds)
                    inside = found
        else:
            _add(parts, kind + label(path[0]), request.count * row_s[0])
        decode_s = self._machine.decode_s(path, request.dtype, request.dim, alone)
        if decode_s > 0:
            _add(parts, "decoding", request.count * decode_s)

    def _widened_s(self, path: Path, row_bytes: int, row_s: Sequence[float]) -> float:
        """What rows from the outermost memory take longer for being spread far; never less than from the next one."""
        spread_bytes = self._caches[path[-2].id].spread_bytes
        return max(
            self._machine.widened_s(path[-1], row_bytes, self._active_cores, spread_bytes), row_s[-2] - row_s[-1]
        )

    def _add_stream(self, parts: dict[str, float], stream: Stream, part: str) -> None:
        path = self._machine.path(self._core, stream.role)
        found = [self._caches[m.id].cyclic if stream.rows else 0.0 for m in path[:-1]]
        for memory, share in zip(path, shares(found), strict=True):
            if share > 0:
                seconds = self._machine.stream_s(memory, "read", self._active_cores)
                _add(parts, f"{part} {label(memory)}", stream.nbytes * share * seconds)


def brought(machine: Machine, core: str, work: Work) -> tuple[Stream, ...]:
    """What local memory that keeps nothing from one batch to the next has to take in from global memory."""
    if not work.kept_bytes or machine.keeps(core):
        return ()
    names = [request.rows for request in work.requests]
    return (Stream("global", work.kept_bytes, f"kept {names[0]}" if names and names[0] else ""),)


def _estimate(parts: Mapping[str, float], source: Source) -> Estimate:
    kept = {part: seconds for part, seconds in parts.items() if seconds > 0}
    return Estimate(sum(kept.values()), kept, source)


def _add(parts: dict[str, float], part: str, seconds: float) -> None:
    parts[part] = parts.get(part, 0.0) + seconds


def _one_id_a_vector(work: Work) -> bool:
    return all(request.count <= work.vectors for request in work.requests)


def _rows(request: Request, core: str, at: int) -> str:
    return request.rows or f"{core} {at}"


def _footprint(request: Request, memory: Memory) -> Footprint:
    return footprint(request.popularity, request.row_bytes, memory.line_bytes)
