"""A bucket of a plan as launches of kernels.

Where a table lies in global memory, whichever multiprocessors the hardware picks can serve it: all such placements of a
stage are one launch, which shares the work out evenly, and the cores that a plan names for them bind nothing. They bind
as soon as a stage keeps tables in shared memory: one block then runs on each multiprocessor and serves what is its own.
Where several keep a table together, blocks are numbered as the plan's cores, and as many in a row are a cluster.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from recsmith.kernels.cuda import FLOWS, KEPT_BY
from recsmith.kernels.cuda.call import ELEMENT_BYTES, Ids, OutputType, StoredRows, Vectors
from recsmith.kernels.cuda.gathering import GatherTuning
from recsmith.kernels.cuda.interaction import interact
from recsmith.kernels.cuda.lookup import lookup
from recsmith.kernels.cuda.program import Launch
from recsmith.kernels.cuda.resident import Segment, owners, resident
from recsmith.kernels.cuda.streamed import streamed
from recsmith.spec import Bucket, Feature, Interval, Model, Objective, Placement, Stage, UnavailableError

Put = Callable[[bytes], int]
FAR_BYTES = 4 << 20
"""Tables beyond this are read past the first-level cache, which holds a few hundred kB at most."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where vectors go.

    Attributes:
        address: of the first sample's first column.
        stride_bytes: between samples.
        sequences: feature without pooling to the address of its vectors; those not named are not looked up.
    """

    address: int
    stride_bytes: int
    dtype: OutputType = "fp32"
    sequences: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lookups:
    """What launches of one model are made from.

    Attributes:
        tables: name to where its rows lie.
        bags: feature to the ids a bag that are expected.
        cores: id of each core to its number.
        tuning: of look-ups from global memory, instead of what plans say of them.
        live: tables whose rows are computed for each batch.
    """

    model: Model
    tables: Mapping[str, StoredRows]
    bags: Mapping[str, float]
    cores: Mapping[str, int]
    tuning: GatherTuning | None = None
    live: frozenset[str] = frozenset()

    def launches(self, bucket: Bucket, ids: Ids, output: Output, put: Put) -> tuple[Launch, ...]:
        """The launches that write all vectors, one after the other.

        Args:
            put: copies bytes to the GPU, where they must stay until the launches have run; yields their address, a
                multiple of 16.

        Raises:
            UnavailableError: the plan asks for a data flow that has no CUDA kernel.
        """
        return tuple(launch for stage in bucket.stages for launch in self._stage(stage, ids, output, put))

    def joined(self, ids: Ids, bottom: StoredRows, output: Output, *, operand: OutputType, columns: int = 0) -> Launch:
        """The launch that writes the top MLP's input: all vectors looked up and multiplied, never written themselves.

        Args:
            bottom: the bottom MLP's output, [B, E] as rows.
            operand: what vectors are rounded to before they are multiplied; `fp32` is for accuracy.
            columns: of the output when more are wanted than there are; the rest are zeros.

        Raises:
            InputError: vectors differ in length.
            CapacityError: there are too many of them.
        """
        kind = self.model.interaction
        first = Vectors(bottom, 0, output.address, output.stride_bytes, "identity")
        looked = self.vectors([feature.name for feature in self.model.pooled], output)
        return interact(
            [first, *looked],
            ids,
            output.address,
            output.stride_bytes,
            output=output.dtype,
            operand=operand,
            self_terms=kind is not None and kind.self_terms,
            columns=columns,
        )

    def vectors(self, names: Sequence[str], output: Output) -> list[Vectors]:
        """What the kernels are told of the features called `names`, in the model's order."""
        numbers = {feature.name: at for at, feature in enumerate(self.model.features)}
        wanted = set(names)
        return [self._vectors(f, numbers[f.name], output) for f in self.model.features if f.name in wanted]

    def _stage(self, stage: Stage, ids: Ids, output: Output, put: Put) -> list[Launch]:
        by_feature: dict[str, list[Placement]] = defaultdict(list)
        unpooled = {feature.name for feature in self.model.features if feature.pooling == "none"}
        for placement in stage.placements:
            if placement.feature not in unpooled or placement.feature in output.sequences:
                by_feature[placement.feature].append(placement)
        kind = {feature: self._flow(placements) for feature, placements in by_feature.items()}
        kept = [feature for feature, flow in kind.items() if flow in KEPT_BY]
        streams = [feature for feature, flow in kind.items() if flow == "gm_ub"]
        rows = [feature for feature in kind if kind[feature] == "gm" and (not kept or feature in unpooled)]
        made = []
        if rows:
            tuning = self.tuning or tuning_of(stage.placements)
            made.append(lookup(self.vectors(rows, output), ids, output.dtype, tuning))
        if streams:
            made.append(streamed(self.vectors(streams, output), ids, output.dtype))
        if kept:
            owned = {f: placements for f, placements in by_feature.items() if f not in (*rows, *streams)}
            made.append(self._owned(owned, ids, output, put))
        return made

    def _owned(self, served: Mapping[str, Sequence[Placement]], ids: Ids, output: Output, put: Put) -> Launch:
        """The launch in which each multiprocessor serves its own samples, from shared memory where rows are kept."""
        features = [feature.name for feature in self.model.features if feature.name in served]
        vectors = self.vectors(features, output)
        segments: list[list[Segment]] = [[] for _ in self.cores]
        for at, feature in enumerate(features):
            kept, together, shares = self._shares(served[feature])
            for first in range(0, len(shares), together):
                group = shares[first : first + together]
                spans = {self.cores[core]: samples.samples(ids.batch) for core, samples in group}
                for block, span in spans.items() if any(map(len, spans.values())) else ():
                    segments[block].append(Segment(at, span.start, span.stop, kept, together))
        owned = owners(vectors, segments)
        return resident(vectors, ids, owned, put(owned.words), output.dtype)

    def _shares(self, placements: Sequence[Placement]) -> tuple[int, int, list[tuple[str, Interval]]]:
        """Rows kept in shared memory, by how many cores together, and which core serves which samples.

        Raises:
            UnavailableError: rows are cut in another way than into hot ones, kept, and the others.
        """
        whole = self.tables[placements[0].shard.table].rows
        hot = [p for p in placements if p.strategy in KEPT_BY]
        rest = {(p.cores, p.samples): p.shard for p in placements if p.strategy == "gm"}
        for placement in hot:
            shard = placement.shard
            other = rest.pop((placement.cores, placement.samples), None)
            cut = other is None and shard.rows != whole
            if cut or shard.start != 0 or (other is not None and (other.start, other.stop) != (shard.stop, whole)):
                raise UnavailableError(
                    "compile",
                    f"feature '{placement.feature}' keeps rows [{shard.start}, {shard.stop}) of {whole} in shared "
                    "memory",
                    "Keep whole tables, or rows from 0 on and the others under 'gm' on the same cores.",
                )
        if hot and rest:
            raise UnavailableError(
                "compile",
                f"feature '{hot[0].feature}' keeps rows in shared memory for a part of the samples only",
                "Serve all samples alike.",
            )
        kept, together = max((p.shard.stop for p in hot), default=0), self._together(hot)
        # Shards in global memory are one: whoever is named first for some samples reads all of the table.
        first = hot or list({p.samples: p for p in reversed(placements)}.values())
        parts = [pair for p in first for pair in zip(p.cores, p.samples.split(len(p.cores)), strict=True)]
        return kept, together, parts

    def _together(self, hot: Sequence[Placement]) -> int:
        """How many cores keep what `hot` says together.

        Raises:
            UnavailableError: different numbers, or cores that are no neighbours.
        """
        sizes = {KEPT_BY[placement.strategy] for placement in hot} or {1}
        together = max(sizes)
        numbers = [[self.cores[core] for core in placement.cores] for placement in hot]
        groups = [own[at : at + together] for own in numbers for at in range(0, len(own), together)]
        able = [list(range(first, first + together)) for first in range(0, len(self.cores), together)]
        whole = all(own in able for own in groups)
        if len(sizes) > 1 or not whole:
            raise UnavailableError(
                "compile",
                f"feature '{hot[0].feature}' is kept by cores that are not groups of {together} neighbours",
                "Name cores as the platform numbers them, whole groups one after the other.",
            )
        return together

    def _flow(self, placements: Sequence[Placement]) -> str:
        """What serves a feature: one of `KEPT_BY` when some of its rows are kept.

        Raises:
            UnavailableError: a strategy has no CUDA kernel, or not for this feature.
        """
        names = {placement.strategy for placement in placements}
        feature = next(f for f in self.model.features if f.name == placements[0].feature)
        unknown = sorted(names - set(FLOWS))
        only_gm = feature.pooling == "none" or feature.table in self.live or self.tables[feature.table].cut
        if unknown or (names != {"gm"} and only_gm) or ("gm_ub" in names and len(names) > 1):
            flow = unknown[0] if unknown else sorted(names - {"gm"})[0]
            raise UnavailableError(
                "compile",
                f"feature '{feature.name}' asks for strategy '{flow}', which has no CUDA kernel for it",
                "Allow strategy 'gm' (recsmith plan --strategies gm).",
            )
        return next((flow for flow in (*KEPT_BY, "gm_ub") if flow in names), "gm")

    def _vectors(self, feature: Feature, number: int, output: Output) -> Vectors:
        rows = self.tables[feature.table]
        element = ELEMENT_BYTES[output.dtype]
        unpooled = feature.pooling == "none"
        column = 0 if unpooled else self.model.columns[feature.name]
        return Vectors(
            rows=rows,
            number=number,
            out=output.sequences[feature.name] if unpooled else output.address + element * column,
            out_stride_bytes=element * rows.dim if unpooled else output.stride_bytes,
            mode="each" if feature.pooling == "none" else feature.pooling,
            weighted=feature.weighted,
            padding_id=feature.padding_id,
            # Modulo is what the feature's ids mean; nothing is left for the policy to do.
            policy="modulo" if feature.id_map.kind == "modulo" else feature.id_map.out_of_range,
            default_row=feature.id_map.default_row,
            bag=self.bags.get(feature.name, 1.0),
            far=rows.rows * rows.stride_bytes > FAR_BYTES,
        )


def tuning_of(placements: Sequence[Placement]) -> GatherTuning:
    """How plans' ways of writing are meant for these kernels: sample by sample where most of them are, past the L2."""
    listed = sum(placement.tuning.block > 0 for placement in placements)
    past = sum(placement.tuning.stores == "stream" for placement in placements)
    return GatherTuning(
        order="sample" if 2 * listed >= len(placements) else "feature",
        stores="past" if 2 * past > len(placements) else "keep",
    )


def expected_bags(objective: Objective) -> dict[str, float]:
    """Feature to the longest bag that a workload of `objective` expects of it."""
    found: dict[str, float] = {}
    for workload in objective.workloads:
        for access in workload.accesses:
            found[access.feature] = max(found.get(access.feature, 0.0), access.pooling_factor)
    return found
