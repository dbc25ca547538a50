"""Who serves which rows of a feature for which samples, where some of its rows are kept in shared memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recsmith.kernels.cuda import KEPT_BY
from recsmith.kernels.cuda.resident import Segment
from recsmith.spec import Interval, Placement, Stage, UnavailableError


@dataclass(frozen=True, slots=True)
class Part:
    """Rows [start, stop) of a feature's table, served for some samples.

    Attributes:
        kept: the first of the rows that lie in shared memory; the others are read from where the table is.
        together: cores in a row that keep them together.
        cores: each serves its share of `samples`.
    """

    feature: str
    start: int
    stop: int
    kept: int
    together: int
    cores: tuple[str, ...]
    samples: Interval

    def span(self, batch: int) -> range:
        """Its samples of a batch."""
        return self.samples.samples(batch)

    def segments(self, vectors: int, batch: int, numbers: Mapping[str, int]) -> list[tuple[int, Segment]]:
        """Number of each block that it concerns, and what that is told.

        A group of cores one of which has samples keeps the rows, all of it; a group without samples does not.

        Args:
            vectors: the place of the feature's vectors in the launch.
            numbers: core to block.

        Raises:
            UnavailableError: cores that should keep rows together are no neighbours.
        """
        blocks = [numbers[core] for core in self.cores]
        spans = [part.samples(batch) for part in self.samples.split(len(blocks))]
        found = []
        for at in range(0, len(blocks), self.together):
            group, own = blocks[at : at + self.together], spans[at : at + self.together]
            if group[0] % self.together or group != list(range(group[0], group[0] + self.together)):
                raise UnavailableError(
                    "compile",
                    f"feature '{self.feature}' is kept by cores that are not groups of {self.together} neighbours",
                    "Name cores as the platform numbers them, whole groups one after the other.",
                )
            if any(own):
                rows, notes = self.stop - self.start, self.start == 0
                found += [
                    (block, Segment(vectors, span.start, span.stop, self.kept, self.together, self.start, rows, notes))
                    for block, span in zip(group, own, strict=True)
                ]
        return found


def check_stages(stages: Sequence[Stage]) -> None:
    """Return when kept rows that are added up to vectors are all served in one stage.

    Raises:
        UnavailableError: they are not: each stage would write what it has alone.
    """
    adding = [{p.feature for p in stage.placements if p.reduce == "add"} for stage in stages]
    kept = {p.feature for stage in stages for p in stage.placements if p.strategy in KEPT_BY}
    several = [name for name, count in Counter(name for own in adding for name in own & kept).items() if count > 1]
    if several:
        raise UnavailableError(
            "compile",
            f"feature '{several[0]}' keeps rows and adds them up over several stages, which has no CUDA kernel",
            "Place all of its rows in one stage.",
        )


def parts_of(placements: Sequence[Placement], rows: int) -> list[Part]:
    """The parts of one feature, in the plan's order.

    Rows in global memory behind those that the same cores keep for the same samples are served with them, in one pass.
    Where nothing is kept, shards are one: whoever is named first for some samples reads all of the table.

    Args:
        rows: of the table.
    """
    if not any(placement.strategy in KEPT_BY for placement in placements):
        first = {placement.samples: placement for placement in reversed(placements)}
        return [Part(p.feature, 0, rows, 0, 1, p.cores, p.samples) for p in first.values()]
    behind = {_where(p, p.shard.start): p for p in placements if p.strategy == "gm"}
    kept = [p for p in placements if p.strategy in KEPT_BY]
    joined = {_where(p, p.shard.stop) for p in kept} & behind.keys()
    found = []
    for p in placements:
        if p.strategy in KEPT_BY:
            rest = behind.get(_where(p, p.shard.stop))
            stop = p.shard.stop if rest is None else rest.shard.stop
            together = KEPT_BY[p.strategy]
            found.append(Part(p.feature, p.shard.start, stop, p.shard.rows, together, p.cores, p.samples))
        elif _where(p, p.shard.start) not in joined:
            found.append(Part(p.feature, p.shard.start, p.shard.stop, 0, 1, p.cores, p.samples))
    return found


def whole(parts: Sequence[Part], rows: int) -> bool:
    """Whether every sample is served by one part."""
    return all(part.start == 0 and part.stop == rows for part in parts)


def _where(placement: Placement, row: int) -> tuple[object, ...]:
    return (placement.cores, placement.samples, row)
