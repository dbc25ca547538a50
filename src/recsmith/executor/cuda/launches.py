"""A bucket of a plan as launches of kernels.

Where a table lies in global memory, whichever multiprocessors the hardware picks can serve it: all such placements of a
stage are one launch, which shares the work out evenly, and the cores that a plan names for them bind nothing. They bind
as soon as a stage keeps tables in shared memory: one block then runs on each multiprocessor and serves what is its own.
Where several keep a table together, blocks are numbered as the plan's cores, and as many in a row are a cluster.
Parts of a table that are kept here and there make sums of their own, which one launch adds up in the plan's order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from recsmith.kernels.cuda import FLOWS, KEPT_BY
from recsmith.kernels.cuda.adding import Partial, Summed, added, listed
from recsmith.kernels.cuda.call import ELEMENT_BYTES, Ids, OutputType, StoredRows, Vectors
from recsmith.kernels.cuda.gathering import GatherTuning
from recsmith.kernels.cuda.interaction import interact
from recsmith.kernels.cuda.lookup import lookup
from recsmith.kernels.cuda.program import Launch
from recsmith.kernels.cuda.resident import Segment, owners, resident
from recsmith.kernels.cuda.streamed import streamed
from recsmith.spec import Bucket, Feature, Model, Objective, Placement, Stage, UnavailableError

from .parts import Part, parts_of, whole
from .scratch import Scratch

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

    def launches(self, bucket: Bucket, ids: Ids, output: Output, scratch: Scratch) -> tuple[Launch, ...]:
        """The launches that write all vectors, one after the other.

        Args:
            scratch: gives memory that stays as long as the launches are run.

        Raises:
            UnavailableError: the plan asks for a data flow that has no CUDA kernel.
        """
        return tuple(launch for stage in bucket.stages for launch in self._stage(stage, ids, output, scratch))

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

    def _stage(self, stage: Stage, ids: Ids, output: Output, scratch: Scratch) -> list[Launch]:
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
            made += self._owned(owned, ids, output, scratch)
        return made

    def _owned(
        self, served: Mapping[str, Sequence[Placement]], ids: Ids, output: Output, scratch: Scratch
    ) -> list[Launch]:
        """The launches in which each multiprocessor serves its own samples, from shared memory where rows are kept.

        Vectors that several parts of a table have a share in are float32 at first, and added up by one launch more.
        """
        by_dtype: dict[OutputType, _Blocks] = defaultdict(lambda: _Blocks(len(self.cores)))
        sums: list[Summed] = []
        for one, name in zip(self.vectors(list(served), output), self._in_order(served), strict=True):
            parts = parts_of(served[name], one.rows.rows)
            if whole(parts, one.rows.rows):
                by_dtype[output.dtype].serve(one, parts, ids.batch, self.cores)
            else:
                row_bytes = 4 * one.rows.dim
                rooms = [scratch.room(ids.batch * row_bytes) for _ in parts]
                for part, room in zip(parts, rooms, strict=True):
                    partial = replace(one, out=room, out_stride_bytes=row_bytes, mode="sum")
                    by_dtype["fp32"].serve(partial, [part], ids.batch, self.cores)
                spans = [part.span(ids.batch) for part in parts]
                shares = (Partial(room, span.start, span.stop) for room, span in zip(rooms, spans, strict=True))
                sums.append(Summed(one, tuple(shares)))
        made = [blocks.launch(ids, scratch, dtype) for dtype, blocks in by_dtype.items()]
        return [*made, added(sums, ids, scratch.put(listed(sums)), output.dtype)] if sums else made

    def _in_order(self, names: Collection[str]) -> list[str]:
        return [feature.name for feature in self.model.features if feature.name in names]

    def _flow(self, placements: Sequence[Placement]) -> str:
        """What serves a feature: one of `KEPT_BY` when some of its rows are kept.

        Raises:
            UnavailableError: a strategy has no CUDA kernel, or not for this feature.
        """
        names = {placement.strategy for placement in placements}
        feature = next(f for f in self.model.features if f.name == placements[0].feature)
        unknown = sorted(names - set(FLOWS))
        cut = self.tables[feature.table].cut
        only_gm = feature.pooling == "none" or feature.table in self.live or cut
        if unknown or (names != {"gm"} and only_gm) or ("gm_ub" in names and len(names) > 1):
            flow = unknown[0] if unknown else sorted(names - {"gm"})[0]
            raise UnavailableError(
                "compile",
                f"feature '{feature.name}' asks for strategy '{flow}', which has no CUDA kernel for it"
                + (", as its table is cut between the GPU's memory and the host's" if cut else ""),
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


class _Blocks:
    """What each block of a launch serves, as it is put together."""

    def __init__(self, blocks: int) -> None:
        self._vectors: list[Vectors] = []
        self._segments: list[list[Segment]] = [[] for _ in range(blocks)]

    def serve(self, vectors: Vectors, parts: Sequence[Part], batch: int, numbers: Mapping[str, int]) -> None:
        """Have `parts` of a feature served, each by its own cores."""
        for part in parts:
            for block, segment in part.segments(len(self._vectors), batch, numbers):
                self._segments[block].append(segment)
        self._vectors.append(vectors)

    def launch(self, ids: Ids, scratch: Scratch, output: OutputType) -> Launch:
        """The launch of all that was given."""
        owned = owners(self._vectors, self._segments)
        return resident(self._vectors, ids, owned, scratch.put(owned.words), output)


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
