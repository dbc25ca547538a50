"""Models and batches on a device: what the executor does, in as few lines as tests need."""

from dataclasses import dataclass, field

import numpy as np

from recsmith.kernels.cuda.call import Ids, StoredRows, Vectors, best_bytes, best_offset, best_stride
from recsmith.spec import Feature, Table
from recsmith.testing.cases import Case

UNTOUCHED = np.uint64(2**64 - 1)
ELEMENT = {"fp32": np.float32, "fp16": np.float16, "bf16": np.uint16}


@dataclass
class Placed:
    """Everything of a case that lies on the device, kept as long as it is used."""

    device: object
    case: Case
    kept: list = field(default_factory=list)

    def put(self, array) -> int:
        memory = self.device.place(np.ascontiguousarray(array))
        self.kept.append(memory)
        return memory.address

    def room(self, nbytes: int) -> int:
        memory = self.device.allocate(nbytes)
        self.device.fill(memory.address, max(nbytes, 1), 0xFF)
        self.kept.append(memory)
        return memory.address

    def table(self, table: Table, *, aligned: bool = False) -> StoredRows:
        """A table as it is stored, or with rows moved to where kernels read them fastest."""
        rows_bytes = table.format.row_bytes(table.dim)
        stride = best_stride(table.dim, table.format.dtype) if aligned else table.format.stride_bytes(table.dim)
        offset = best_offset(table.format.dtype) if aligned else 0
        stored = self.case.weights.tables[table.name]
        raw = np.ascontiguousarray(stored).view(np.uint8).reshape(table.rows, -1)[:, :rows_bytes]
        rows = np.full((table.rows, stride), 0xFF, np.uint8)
        rows[:, :rows_bytes] = raw
        whole = best_bytes(table.rows, table.dim, table.format.dtype) if aligned else rows.size
        placed = np.full(whole, 0xFF, np.uint8)
        placed[offset : offset + rows.size] = rows.reshape(-1)
        return StoredRows(self.put(placed) + offset, table.rows, table.dim, table.format.dtype, stride)

    def ids(self, index="int64", offset="int64", *, checked=True) -> Ids:
        jagged = self.case.ids
        return Ids(
            self.put(jagged.values.astype(index)),
            jagged.batch,
            index,
            0 if jagged.offsets is None else self.put(jagged.offsets.astype(offset)),
            offset,
            0 if jagged.weights is None else self.put(jagged.weights),
            self.put(np.array([UNTOUCHED, 0], np.uint64)) if checked else 0,
            len(jagged.values),
        )


def mean_bag(case: Case) -> float:
    return len(case.ids.values) / max(1, case.ids.batch * len(case.model.features))


def vectors_of(placed: Placed, feature: Feature, at: int, out: int, out_stride: int, **more) -> Vectors:
    """What is looked up for a feature and where it goes."""
    mode = "each" if feature.pooling == "none" else feature.pooling
    rows = placed.table(placed.case.model.table_of(feature), aligned=more.pop("aligned", False))
    policy = "modulo" if feature.id_map.kind == "modulo" else feature.id_map.out_of_range
    return Vectors(
        rows,
        at,
        out,
        out_stride,
        mode,
        feature.weighted,
        feature.padding_id,
        policy,
        feature.id_map.default_row,
        **({"bag": mean_bag(placed.case)} | more),
    )


def decoded(array, output: str):
    """The device's output as float32."""
    return (array.astype(np.uint32) << 16).view(np.float32) if output == "bf16" else array.astype(np.float32)
