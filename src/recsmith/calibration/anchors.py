"""A few points of a profile measured again, in seconds: how fast is this machine now, compared with then?

Machines shared with others are not equally fast at all times. Predictions are judged against measurements of the
same hour, so the profile they start from is scaled by what these anchors say.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import geometric_mean, median

from msgspec.structs import replace

from recsmith.spec import Curve, Memory, Platform, Progress, Record, UnavailableError

from .curves import unmixed
from .here import RAM_BYTES, check_here, make_bench
from .levels import Level, crews, levels, like, pages
from .measure import with_usable_caches
from .probes import BAG, Bench
from .trial import Clock

BUDGET_S = 6.0
_ROW_BYTES = (64, 256)
_ROUNDS = 9


class Anchor(Record, frozen=True):
    """One point measured again.

    Attributes:
        memory: id of the memory.
        then: the profile's point.
        now_s: its seconds now, the spread in `iqr_s`.
    """

    memory: str
    then: Curve
    now_s: float
    iqr_s: float

    @property
    def factor(self) -> float:
        """How many times slower than in the profile."""
        return self.now_s / self.then.seconds


class Anchors(Record, frozen=True):
    """What a profile has to be multiplied with to describe this machine now.

    Attributes:
        factors: memory id to how many times slower it is now.
        capacities: id of each shared cache to the bytes of it that are ours now.
    """

    anchors: tuple[Anchor, ...]
    factors: dict[str, float]
    capacities: dict[str, int]

    def scaled(self, platform: Platform) -> Platform:
        """`platform` with all its curves at today's speed, and today's share of shared caches."""
        return replace(platform, memories=tuple(self._scaled(memory) for memory in platform.memories))

    def _scaled(self, memory: Memory) -> Memory:
        factor = self.factors.get(memory.id, 1.0)
        return replace(
            memory,
            capacity_bytes=self.capacities.get(memory.id, memory.capacity_bytes),
            curves=tuple(replace(c, seconds=c.seconds * factor, iqr_s=c.iqr_s * factor) for c in memory.curves),
            widenings=tuple(
                replace(w, narrow_s=w.narrow_s * factor, wide_s=w.wide_s * factor) for w in memory.widenings
            ),
        )


def measure_anchors(
    profile: Platform, *, budget_s: float = BUDGET_S, ram_bytes: int = RAM_BYTES, progress: Progress | None = None
) -> Anchors:
    """Row gathers of two sizes at every level, for one core and for all, on the profile's own tuning.

    Raises:
        UnavailableError: the profile is another machine's, or was not measured.
    """
    check_here(profile)
    if profile.source != "measured":
        raise UnavailableError("anchors", f"'{profile.name}' was never measured", "Run recsmith measure first.")
    report = progress or (lambda step, done, total: None)
    bench = make_bench(profile, ram_bytes, Clock(budget_s), pages(profile)[:1])
    report("anchors", 0, 2)
    sized, _ = with_usable_caches(_as_reported(profile), bench)
    capacities = {m.id: m.capacity_bytes for m in sized.memories if m.kind == "cache" and m.reported_bytes}
    report("anchors", 1, 2)
    found: list[Anchor] = []
    factors: dict[str, float] = {}
    inner: list[Anchor] = []
    for level in levels(sized, bench.ground.nbytes):
        inner = _measure_level(profile, bench, level, inner)
        found += inner
        if inner:
            factors.update(dict.fromkeys(like(profile, level.memory), level_factor(inner)))
    report("anchors", 2, 2)
    return Anchors(tuple(found), factors, capacities)


def level_factor(anchors: Sequence[Anchor]) -> float:
    """One factor for a level: the middle of its anchors', which are all meant to say the same."""
    factors = [anchor.factor for anchor in anchors]
    return median(factors) if len(factors) > 2 else geometric_mean(factors)


def _as_reported(profile: Platform) -> Platform:
    return replace(
        profile,
        memories=tuple(
            replace(m, capacity_bytes=m.reported_bytes) if m.kind == "cache" and m.reported_bytes else m
            for m in profile.memories
        ),
    )


def _measure_level(profile: Platform, bench: Bench, level: Level, inner: Sequence[Anchor]) -> list[Anchor]:
    found = []
    sets = crews(profile, level.memory)
    for crew in dict.fromkeys((sets[0], sets[-1])):
        for point in _points(profile.memory(level.memory.id), len(crew), level):
            spot = level.spot(crew, point.page)
            sample = bench.look_ups(spot, point.row_bytes // 4, "fp32", point.tuning, _ROUNDS, pooling=BAG)
            inside = [a.now_s for a in inner if a.then.row_bytes == point.row_bytes]
            now_s = unmixed(sample.median_s, min(inside, default=0.0), level.inner_share)
            found.append(Anchor(level.memory.id, point, now_s, sample.iqr_s))
    return found


def _points(memory: Memory, cores: int, level: Level) -> list[Curve]:
    return [
        curve
        for curve in memory.curves
        if curve.access == "gather"
        and curve.row_bytes in _ROW_BYTES
        and curve.active_cores == cores
        and curve.page == level.pages[0]
    ]
