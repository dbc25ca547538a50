"""A bucket of a plan as launches of kernels.

Where a table lies in global memory, whichever multiprocessors the hardware picks can serve it: all such placements of a
stage are one launch, which shares the work out evenly, and the cores that a plan names for them bind nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from recsmith.kernels.cuda.call import Ids, OutputType, StoredRows, Vectors
from recsmith.kernels.cuda.gathering import GatherTuning
from recsmith.kernels.cuda.interaction import interact
from recsmith.kernels.cuda.lookup import lookup
from recsmith.kernels.cuda.program import Launch
from recsmith.spec import Bucket, Feature, Model, Objective, Placement, Stage, UnavailableError

ELEMENT_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
FAR_BYTES = 4 << 20
"""Tables beyond this are read past the first-level cache, which holds a few hundred kB at most."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where vectors go.

    Attributes:
        address: of the first sample's first column.
        stride_bytes: between samples.
        sequences: feature without pooling to the address of its vectors.
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
        tuning: of look-ups from global memory, instead of what plans say of them.
    """

    model: Model
    tables: Mapping[str, StoredRows]
    bags: Mapping[str, float]
    tuning: GatherTuning | None = None

    def launches(self, bucket: Bucket, ids: Ids, output: Output) -> tuple[Launch, ...]:
        """The launches that write all vectors, one after the other.

        Raises:
            UnavailableError: the plan asks for a data flow that has no CUDA kernel.
        """
        return tuple(launch for stage in bucket.stages for launch in self._stage(stage, ids, output))

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
        looked = self.vectors([feature.name for feature in self.model.features], output)
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

    def _stage(self, stage: Stage, ids: Ids, output: Output) -> list[Launch]:
        _check_flows(stage.placements)
        names = list(dict.fromkeys(placement.feature for placement in stage.placements))
        if not names:
            return []
        tuning = self.tuning or tuning_of(stage.placements)
        return [lookup(self.vectors(names, output), ids, output.dtype, tuning)]

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


def _check_flows(placements: Sequence[Placement]) -> None:
    for placement in placements:
        if placement.strategy != "gm":
            raise UnavailableError(
                "compile",
                f"feature '{placement.feature}' asks for strategy '{placement.strategy}', which has no CUDA kernel",
                "Choose from: gm (recsmith plan --strategies gm).",
            )
