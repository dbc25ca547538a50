"""Who serves what: the planner's answer, a file to be read, edited and diffed."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from .model import InteractionKind, Model
from .ops import Gather, Op
from .platform import Platform, Tuning
from .record import Record
from .work import Estimate
from .workload import Objective


class Problem(Record, frozen=True):
    """Everything a plan depends on.

    Attributes:
        ops: each feature as its representation lowered it.
    """

    model: Model
    ops: tuple[Op, ...]
    objective: Objective
    platform: Platform

    @property
    def gathers(self) -> tuple[Gather, ...]:
        """The ops that strategies serve; what is computed is no strategy's business."""
        return tuple(op for op in self.ops if isinstance(op, Gather))


class Shard(Record, frozen=True):
    """Rows [start, stop) of a table."""

    table: str
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.stop - self.start

    @property
    def label(self) -> str:
        """The shard in one word: "C3[0:5000]"."""
        return f"{self.table}[{self.start}:{self.stop}]"


class Interval(Record, frozen=True):
    """The part [start, stop) of a batch, as exact fractions of it."""

    start: Fraction = Fraction(0)
    stop: Fraction = Fraction(1)

    def split(self, parts: int) -> tuple[Interval, ...]:
        """The interval cut in `parts` equal ones, in order."""
        step = (self.stop - self.start) / parts
        return tuple(Interval(self.start + i * step, self.start + (i + 1) * step) for i in range(parts))

    def samples(self, batch: int) -> range:
        """The sample numbers it means for a batch of `batch`: floor(start * batch) up to floor(stop * batch)."""
        return range(int(self.start * batch), int(self.stop * batch))


class Placement(Record, frozen=True):
    """Cores that serve one feature's look-ups in one shard.

    Core i of g serves the i-th of g equal parts of `samples`. One core, all samples: the shard is owned.
    All cores, whole table: it is replicated (symmetric). Where the strategy has cores keep the shard together, each a
    part of it, they are whole groups of neighbours (`Platform.groups`).

    Attributes:
        reduce: `none`: this placement alone writes the feature's columns. `add`: it yields partial sums,
            which are added in the order in which the plan lists the placements.
    """

    feature: str
    shard: Shard
    cores: tuple[str, ...]
    strategy: str
    samples: Interval = Interval()
    tuning: Tuning = Tuning()
    reduce: Literal["none", "add"] = "none"


class Materialise(Record, frozen=True, tag="materialise"):
    """Write the vectors to the look-up's output buffer, [B, width] float32."""


class Fuse(Record, frozen=True, tag="fuse"):
    """Feed the vectors of `block` samples at a time to the interaction, from the private cache; write its output only.

    The interaction takes the vectors of earlier stages from where they were written. A plain look-up with the same
    plan writes all vectors.
    """

    interaction: InteractionKind
    block: int


class Stage(Record, frozen=True):
    """Placements that run side by side; a barrier follows each stage.

    Attributes:
        output: `Fuse` only in a bucket's last stage, whose placements then all divide the samples alike. Without it
            the interaction follows the last barrier, each core serving a part of the samples.
    """

    placements: tuple[Placement, ...]
    output: Materialise | Fuse = Materialise()


class Bucket(Record, frozen=True):
    """The stages for batches of up to `batch_up_to` samples; None means any size.

    A bucket that names a single core runs on the caller's thread.
    """

    batch_up_to: int | None
    stages: tuple[Stage, ...]

    @property
    def cores(self) -> tuple[str, ...]:
        """The cores it uses, in order of first mention."""
        placements = (placement for stage in self.stages for placement in stage.placements)
        return tuple(dict.fromkeys(core for placement in placements for core in placement.cores))

    @property
    def fused(self) -> Fuse | None:
        """How the last stage is fused with the interaction, if it is."""
        output = self.stages[-1].output if self.stages else None
        return output if isinstance(output, Fuse) else None


class Predicted(Record, frozen=True):
    """What the cost model expects of a plan under one workload.

    Attributes:
        core_seconds: busy time of each core; the largest is the makespan.
        lower_bound_s: no plan can be faster than this under the same cost model; 0 when not computed.
    """

    workload: str
    batch: int
    total: Estimate
    core_seconds: dict[str, float]
    lower_bound_s: float = 0.0


DecoderPrecision = Literal["fp32", "tf32", "bf16", "fp8"]


class Serving(Record, frozen=True):
    """How a computed table is served.

    Attributes:
        way: `compute` every row when it is asked; `cache`: the same, but `hot` finished rows are kept;
            `materialise` all rows once, when the plan is bound; `centroids`: `hot` rows are kept, the others are those
            of the nearest of `centroids` clusters of a DHE's codes, which is an approximation.
        hot: ids whose rows are kept; which ones, `compile` is told (`profile`).
        precision: of the decoder's products; `bf16` rounds codes and weights to bfloat16, `tf32`, on GPUs, to
            the tensor cores' 19 bits, `fp8` (e4m3), on Hopper, to eight.
        seconds: predicted for one batch of the objective; 0 when not predicted.
    """

    table: str
    way: Literal["compute", "cache", "materialise", "centroids"] = "compute"
    hot: int = 0
    precision: DecoderPrecision = "fp32"
    seconds: float = 0.0
    centroids: int = 0


class Fold(Record, frozen=True):
    """Features whose rows are stored multiplied with the top MLP's first layer when the plan is bound (ours).

    Attributes:
        features: in the model's order.
        nbytes: of their rows, which are float32 and as long as the layer is wide.
        sums: how these are looked up and added to the layer over everything else.
    """

    features: tuple[str, ...]
    nbytes: int
    sums: Plan


class Plan(Record, frozen=True):
    """An assignment of every feature's look-ups to cores.

    Attributes:
        problem: digest of the problem it was made for, measurements included.
        model: digest of the problem's model; a plan serves this model only.
        machine: `Platform.machine` it was made for.
        objective: the workloads it was made for.
        buckets: by batch size, smallest first; the last one takes any size.
        planner: which planner made it.
        notes: what it decided and why, a sentence each.
        serving: how each computed table is served. The model that strategies see, and whose digest this is, has
            tables of finished rows in their place (`representations.served`).
        fold: features that `buckets` leave out, because their rows are multiplied beforehand; None when there are
            none. See `representations.seen`.
    """

    problem: str
    model: str
    machine: str
    objective: Objective
    planner: str
    buckets: tuple[Bucket, ...]
    predicted: tuple[Predicted, ...] = ()
    notes: tuple[str, ...] = ()
    version: int = 1
    serving: tuple[Serving, ...] = ()
    fold: Fold | None = None

    def bucket(self, batch: int) -> Bucket:
        """The bucket that serves a batch of `batch` samples."""
        for bucket in self.buckets:
            if bucket.batch_up_to is None or batch <= bucket.batch_up_to:
                return bucket
        return self.buckets[-1]
