"""What no plan can beat under the cost model (ours).

Each feature is priced with the machine to itself, in the best of all ways to cut it: neighbours only take room in
caches. All features together keep the cores busy at least for the sum of these, shared out evenly. Private
memory is charged for at the price that makes the bound largest (Lagrange): whatever the price, the bound holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from recsmith.spec import Estimate, Popularity, Tuning, Work, Workload

from .candidates import Classes, Option, shards_of
from .evaluate import Pricer
from .room import Room
from .writing import BLOCK

Way = tuple[float, float, int]
"""Seconds of all pieces, seconds of the longest, bytes of private memory."""

_RENTS_TRIED = 40
_WRITINGS = (
    Tuning(stores="regular"),
    Tuning(stores="stream"),
    Tuning(stores="regular", block=BLOCK),
    Tuning(stores="stream", block=BLOCK),
)


def lower_bounds(
    pricer: Pricer, classes: Classes, able: Mapping[str, Sequence[Option]], workloads: Sequence[Workload]
) -> dict[str, float]:
    """Name of each of `workloads` to seconds that no plan made of the options `able` can beat."""
    return {workload.name: _lower_bound(pricer, classes, able, workload) for workload in workloads}


def _products_s(pricer: Pricer, classes: Classes, workload: Workload) -> float:
    """Seconds on the best core of the interaction's products, which every plan makes."""
    if not pricer.joining.present:
        return 0.0
    found = []
    for cores in classes.cores:
        works = pricer.joining.works({cores[0]: float(workload.batch)}, 0)
        (estimate,) = pricer.loads({cores[0]: [works[cores[0]]]})[cores[0]]
        found.append(estimate.breakdown.get("products", 0.0))
    return min(found)


def _lower_bound(pricer: Pricer, classes: Classes, able: Mapping[str, Sequence[Option]], workload: Workload) -> float:
    platform = pricer.problem.platform
    cores = len(platform.cores)
    readers = Counter(op.table for op in pricer.problem.ops)
    ways = {
        feature: [
            _alone(pricer, classes, o, workload, sole_reader=readers[pricer.ops[feature].table] == 1) for o in found
        ]
        for feature, found in able.items()
    }
    room_bytes = Room(platform).local_bytes
    busy = max(_charged(ways, rent, room_bytes) for rent in _rents(ways)) + _products_s(pricer, classes, workload)
    longest = max(min(piece for _, piece, _ in found) for found in ways.values())
    alone = pricer.cost.total(platform, {core.id: () for core in platform.cores[:1]}).seconds
    if cores == 1:
        return alone + busy
    nothing = Estimate(0.0, {}, "modelled")
    together = pricer.cost.total(platform, {core.id: (nothing,) for core in platform.cores}).seconds
    return min(alone + busy, together + max(busy / cores, longest))


def _alone(pricer: Pricer, classes: Classes, option: Option, workload: Workload, *, sole_reader: bool) -> Way:
    """The option with the machine to itself, written in the way that suits it best, or kept for the interaction.

    A feature whose table others read too may find rows in the cache that they brought there, so all of its own
    count as found at once, and its private memory as paid by them.
    """
    candidate = option.candidate
    by_way = []
    for tuning in _WRITINGS:
        works = [
            pricer.work(
                candidate.feature,
                shard,
                candidate.strategy,
                workload.batch / candidate.split,
                workload,
                tuning,
                interleaved=False,
            )
            for shard in shards_of(pricer, candidate)
            for _ in range(candidate.split)
        ]
        works = works if sole_reader else [_found_at_once(work) for work in works]
        by_way.append(_best_class(pricer, classes, works))
        if pricer.joining.present:
            by_way.append(_best_class(pricer, classes, [pricer.kept_near(work) for work in works]))
    seconds, longest = (min(way) for way in zip(*by_way, strict=True))
    return seconds, longest, option.all_local_bytes if sole_reader else 0


def _best_class(pricer: Pricer, classes: Classes, works: Sequence[Work]) -> tuple[float, float]:
    """Seconds of all `works` and of the longest, on cores of the class that suits each best.

    Pieces of one candidate that read the same rows help each other in shared caches, so they run side by side.
    """
    by_class = []
    for ids in classes.cores:
        seconds: list[float] = []
        for at in range(0, len(works), len(ids)):
            side_by_side = {core: [work] for core, work in zip(ids, works[at : at + len(ids)], strict=False)}
            seconds += [estimates[0].seconds for estimates in pricer.loads(side_by_side).values()]
        by_class.append(seconds)
    best = [min(seconds) for seconds in zip(*by_class, strict=True)]
    return sum(best), max(best)


def _rents(ways: Mapping[str, Sequence[Way]]) -> list[float]:
    """Prices of private memory worth trying: zero, and what some feature saves per byte of it."""
    saved = sorted(
        {
            (slow - quick) / nbytes
            for able in ways.values()
            for slow in (min((seconds for seconds, _, kept in able if kept == 0), default=0.0),)
            for quick, _, nbytes in able
            if nbytes > 0 and slow > quick
        }
    )
    return [0.0, *saved[:: max(1, len(saved) // _RENTS_TRIED)]]


def _charged(ways: Mapping[str, Sequence[Way]], rent: float, room_bytes: int) -> float:
    """Least busy time of all cores together when private memory costs `rent` seconds a byte, less what all costs."""
    return sum(min(s + rent * kept for s, _, kept in able) for able in ways.values()) - rent * room_bytes


def _found_at_once(work: Work) -> Work:
    requests = tuple(replace(request, popularity=Popularity.fixed(), rows="") for request in work.requests)
    return replace(work, requests=requests)
