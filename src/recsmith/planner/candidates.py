"""Ways to serve one feature, priced: strategy, row shards, cores to a shard ([ASYM], papers.md A4, reconstruction).

Prices of asymmetric plans are taken in a typical one: a core that serves a K-th of every table, K the number of
cores. What a piece costs depends on its neighbours in the caches; planners price whole plans again.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from recsmith.spec import Placement, Shard, Work, Workload

from .evaluate import Pricer, aim
from .room import Room, local_bytes, nothing_fits

LARGE_PART = 0.2
"""A table is cut until a piece takes this part of a core's fair share of all work."""
LOCAL_PIECES = 4
"""Tables kept in private memory are cut in so many pieces, however short their time, to fill the gaps."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to serve a feature.

    Attributes:
        shards: row shards of nearly equal size.
        split: cores that serve each shard, each for an equal part of the batch; whole groups of them where several
            keep a shard together.
    """

    feature: str
    strategy: str
    shards: int
    split: int

    @property
    def pieces(self) -> int:
        """Placements on single cores."""
        return self.shards * self.split


@dataclass(frozen=True, slots=True)
class Option:
    """A candidate with its price.

    Attributes:
        seconds: of one piece on a core of each class, in the order of `Classes.cores`.
        local_bytes: private memory that one piece keeps for good.
    """

    candidate: Candidate
    seconds: tuple[float, ...]
    local_bytes: int

    @property
    def total_s(self) -> float:
        """Seconds of all pieces on the cores that suit it best."""
        return min(self.seconds) * self.candidate.pieces

    @property
    def all_local_bytes(self) -> int:
        """Private memory that all pieces keep for good."""
        return self.local_bytes * self.candidate.pieces


class Classes:
    """Cores that are alike.

    Args:
        pricer: of the problem.

    Attributes:
        cores: core ids of each class.
        of: core id to the number of its class.
    """

    def __init__(self, pricer: Pricer) -> None:
        platform = pricer.problem.platform
        memories = {memory.id: memory for memory in platform.memories}
        found: dict[object, list[str]] = defaultdict(list)
        for core in platform.cores:
            chain = [memories[id] for id in core.memories]
            kinds = tuple((m.kind, m.capacity_bytes, len(m.cores), m.curves) for m in chain)
            found[kinds, core.flops_per_s].append(core.id)
        self.cores = tuple(tuple(ids) for ids in found.values())
        self.of = {core: at for at, ids in enumerate(self.cores) for core in ids}


def options(pricer: Pricer, classes: Classes, workloads: Sequence[Workload]) -> dict[str, tuple[Option, ...]]:
    """Feature to its candidates with prices.

    Every feature has its table on one core and on all cores; large ones are also cut by rows and by samples.

    Raises:
        PlanError: a table fits with none of the strategies.
    """
    cores = sum(len(ids) for ids in classes.cores)
    basic = [c for f in pricer.ops for c in _basic(pricer, f)]
    priced = _priced(pricer, classes, workloads, basic)
    fair = sum(min(o.total_s for o in found) for found in priced.values() if found) / cores
    cut = [c for f, found in priced.items() for c in _cuts(pricer, f, _pieces(pricer, found, fair))]
    more = _priced(pricer, classes, workloads, cut)
    able = {feature: (*found, *more[feature]) for feature, found in priced.items()}
    for feature in (feature for feature, found in able.items() if not found):
        raise nothing_fits(feature, pricer.table(feature), tuple(pricer.strategies), cores)
    return able


def _pieces(pricer: Pricer, found: Sequence[Option], fair: float) -> dict[str, int]:
    """Strategy to the number of pieces beyond which cutting a feature is of no use.

    Strategies that lose whole lose in pieces too; those that do not fit whole may fit in any number.
    """
    everything = len(pricer.problem.platform.cores)
    least = {name: pricer.strategies[name].together for name in pricer.strategies}
    owned = {o.candidate.strategy: o for o in undominated(found) if o.candidate.pieces == least[o.candidate.strategy]}
    limits = {
        name: least[name]
        * max(min(LOCAL_PIECES, everything) if o.local_bytes else 1, math.ceil(max(o.seconds) / (LARGE_PART * fair)))
        for name, o in owned.items()
    }
    fitting = {o.candidate.strategy for o in found}
    return limits | {name: everything for name in pricer.strategies if name not in fitting}


def undominated(found: Sequence[Option]) -> tuple[Option, ...]:
    """The options that no other one beats in time by piece, time in all and private memory at once."""
    kept: list[Option] = []
    for option in sorted(found, key=lambda o: (o.total_s, o.candidate.pieces, o.local_bytes)):
        if not any(_dominates(other, option) for other in kept):
            kept.append(option)
    return tuple(kept)


def _dominates(a: Option, b: Option) -> bool:
    return (
        all(x <= y for x, y in zip(a.seconds, b.seconds, strict=True))
        and a.total_s <= b.total_s
        and a.local_bytes <= b.local_bytes
        and a.candidate.pieces <= b.candidate.pieces
    )


def shards_of(pricer: Pricer, candidate: Candidate) -> tuple[Shard, ...]:
    """The candidate's row shards, in row order."""
    whole = pricer.whole(candidate.feature)
    edges = [whole.rows * i // candidate.shards for i in range(candidate.shards + 1)]
    return tuple(Shard(whole.table, edges[i], edges[i + 1]) for i in range(candidate.shards))


def placements(pricer: Pricer, candidate: Candidate, cores: Sequence[str]) -> tuple[Placement, ...]:
    """The candidate on `cores`: the first `split` of them serve the first shard, and so on."""
    found = []
    for at, shard in enumerate(shards_of(pricer, candidate)):
        group = tuple(cores[at * candidate.split : (at + 1) * candidate.split])
        placement = Placement(candidate.feature, shard, group, candidate.strategy)
        found.append(placement if candidate.shards == 1 else msgspec.structs.replace(placement, reduce="add"))
    return tuple(found)


def _basic(pricer: Pricer, feature: str) -> list[Candidate]:
    """Every strategy on one core and on all, or on one group and on all."""
    groups = {name: pricer.groups(name) for name in pricer.strategies}
    sizes = {name: sorted({len(found[0]), sum(map(len, found))}) for name, found in groups.items() if found}
    return [Candidate(feature, name, 1, split) for name, splits in sizes.items() for split in splits]


def _cuts(pricer: Pricer, feature: str, pieces: Mapping[str, int]) -> list[Candidate]:
    """Powers of two up to `pieces` of each strategy, and all cores. Unpooled features are not cut by rows, nor are
    shards that groups keep.
    """
    rows = pricer.table(feature).rows
    cut = pricer.ops[feature].pooling != "none"
    found = []
    for name, most in pieces.items():
        groups = pricer.groups(name)
        size, cores = pricer.strategies[name].together, sum(map(len, groups))
        counts = sorted({min(2**i, cores) for i in range(1, (most - 1).bit_length() + 1)})
        found += [Candidate(feature, name, 1, n) for n in counts if size < n < cores and n % size == 0]
        found += [Candidate(feature, name, n, 1) for n in counts if cut and size == 1 and n <= rows]
    return found


def _priced(
    pricer: Pricer, classes: Classes, workloads: Sequence[Workload], candidates: Sequence[Candidate]
) -> dict[str, list[Option]]:
    """Feature to those of `candidates` that fit an empty core, priced on each class of cores."""
    able = [c for c in candidates if _fits_empty(pricer, classes, c)]
    seconds = [_seconds(pricer, cores, workloads, able) for cores in classes.cores]
    found: dict[str, list[Option]] = {feature: [] for feature in pricer.ops}
    for at, candidate in enumerate(able):
        shard = shards_of(pricer, candidate)[0]
        kept = local_bytes(pricer.strategies[candidate.strategy], pricer.table(candidate.feature), shard)
        found[candidate.feature].append(Option(candidate, tuple(s[at] for s in seconds), kept))
    return found


def _fits_empty(pricer: Pricer, classes: Classes, candidate: Candidate) -> bool:
    if not pricer.able(candidate.feature, candidate.strategy):
        return False
    room = Room(pricer.problem.platform)
    flow, table = pricer.strategies[candidate.strategy], pricer.table(candidate.feature)
    largest = max(shards_of(pricer, candidate), key=lambda shard: shard.rows)
    return all(room.fits(cores[0], flow, table, largest) for cores in classes.cores)


def _seconds(
    pricer: Pricer, cores: Sequence[str], workloads: Sequence[Workload], candidates: Sequence[Candidate]
) -> list[float]:
    """Seconds of one piece of each candidate among a K-th of everything else.

    As many candidates as there are cores are priced at once, one on each.
    """
    found: list[dict[str, float]] = [{} for _ in candidates]
    for workload in workloads:
        typical = _typical(pricer, workload)
        for start in range(0, len(candidates), len(cores)):
            group = candidates[start : start + len(cores)]
            works = {}
            for core, candidate in zip(cores, group, strict=False):
                others = [work for feature, work in typical.items() if feature != candidate.feature]
                works[core] = [*_work(pricer, candidate, workload), *others]
            for at, (candidate, estimates) in enumerate(zip(group, pricer.loads(works).values(), strict=True)):
                own = estimates[: 1 if candidate.shards == 1 else 2]
                found[start + at][workload.name] = sum(estimate.seconds for estimate in own)
    return [aim(pricer.problem.objective, seconds) for seconds in found]


def _typical(pricer: Pricer, workload: Workload) -> dict[str, Work]:
    """Feature to a K-th of its work: the look-ups in a K-th of the rows, and a K-th of ids and output.

    That is what a core serves of each table on average when every table has one owner.
    """
    parts = len(pricer.problem.platform.cores)
    first = next(iter(pricer.strategies))
    found = {}
    for feature in pricer.ops:
        shard = shards_of(pricer, Candidate(feature, first, min(parts, pricer.table(feature).rows), 1))[0]
        work = pricer.work(feature, shard, first, workload.batch, workload, interleaved=parts > 1)
        found[feature] = msgspec.structs.replace(
            work, ids_bytes=work.ids_bytes / parts, written_bytes=work.written_bytes / parts
        )
    return found


def _work(pricer: Pricer, candidate: Candidate, workload: Workload) -> list[Work]:
    """What one piece does: its look-ups and, for row shards, its part of adding up."""
    shard = shards_of(pricer, candidate)[0]
    samples = workload.batch / candidate.split
    interleaved = len(pricer.problem.platform.cores) > 1
    work = pricer.work(candidate.feature, shard, candidate.strategy, samples, workload, interleaved=interleaved)
    if candidate.shards == 1:
        return [work]
    return [work, pricer.adding({candidate.feature: candidate.shards}, candidate.pieces, workload)]
