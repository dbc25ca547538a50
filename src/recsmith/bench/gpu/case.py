"""What is looked up on the GPU: one table behind the other, several sets of ids, and what engines must yield.

F features, B samples, L ids of a batch, R rows of all tables, E dim, W width.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from recsmith.data.shapes import Shape
from recsmith.kernels.cuda.call import Ids, StoredRows, best_bytes, best_offset, best_stride
from recsmith.spec import InputError, RowFormat, UnavailableError

from .world import World

Output = Literal["fp32", "fp16"]
Stored = Literal["fp32", "fp16", "int8", "int4"]
_CHECKED = 32
_MOST_SETS, _FEWEST_SETS = 64, 8
_MOST_ID_BYTES = 2 << 30
_TOUCHED_L2S = 4
"""All sets of ids together touch rows of so many times the L2, so that none is still there when it comes again."""
_TORCH = {"fp32": "float32", "fp16": "float16"}
# Codes spread over [-1, 1].
_LEVELS = {"int8": 255, "int4": 15}
_TOLERANCE = {"fp32": 1e-5, "fp16": 2e-3}


class GpuCase:
    """Tables, ids and the float64 answer of one cell.

    Args:
        law: `uniform`, `zipf:ALPHA` or `fixed`.
        cores: ids of the platform's cores.
        sets: of ids; as many as outrun the L2 when 0.

    Attributes:
        first_F: first row of each feature's table.
        values: for each set [L] int32, feature-major.
        offsets: [F * B + 1] int32, the same for all sets; None when every bag holds one id.
        bottom: [B, E], the bottom MLP's output, where the interaction is timed too; else None.
        out: [B, columns], where engines of ours write; rows begin at multiples of 16 bytes.

    Raises:
        UnavailableError: tables differ in dim or format, or are bf16.
    """

    def __init__(
        self,
        world: World,
        shape: Shape,
        batch: int,
        law: str,
        output: Output | None = None,
        sets: int = 0,
        seed: int = 0,
        *,
        joint: bool = False,
        cores: tuple[str, ...] = (),
    ) -> None:
        self.world, self.shape, self.batch, self.law, self.cores = world, shape, batch, law, cores
        torch, model = world.torch, shape.model
        dims = {table.dim for table in model.tables}
        dtypes = {table.format.dtype for table in model.tables}
        if len(dims) > 1 or not dtypes <= {"fp32", "fp16", *_LEVELS} or len(dtypes) > 1:
            found = f"{sorted(dims)} dims of {sorted(dtypes)}"
            raise UnavailableError("bench", f"rivals take tables of one dim and format; found {found}", "")
        (self.dim,) = dims
        self.dtype: Stored = dtypes.pop()  # type: ignore[assignment]
        self.output: Output = output or ("fp32" if self.dtype == "fp32" else "fp16")
        self.bags = tuple(round(factor) for factor in shape.pooling_factors)
        self.rows = {table.name: table.rows for table in model.tables}
        starts, at = {}, 0
        for table in model.tables:
            starts[table.name], at = at, at + table.rows
        self.starts = starts
        generator = torch.Generator(device=world.place).manual_seed(seed)
        self._flat = self._codes(at, generator) if self.quantised else world.empty((at, self.dim), self.vector)
        if not self.quantised:
            self._flat.uniform_(-1, 1, generator=generator)
        self.first_F = [starts[feature.table] for feature in model.features]
        self.length = batch * sum(self.bags)
        self.sets = sets or self._sets()
        ids = Draw(world, [self.rows[f.table] for f in model.features], self.bags, batch, law, generator)
        self.values = [world.tensor(ids(), torch.int32) for _ in range(self.sets)]
        self.offsets = None if self.one_hot else world.tensor(self._offsets(), torch.int32)
        self.bottom = world.empty((batch, self.dim), self.vector) if joint else None
        if self.bottom is not None:
            self.bottom.uniform_(-1, 1, generator=generator)
        self.out = world.empty((batch, -(-self.columns // 8) * 8), self.element(self.output))[:, : self.columns]

    @property
    def features(self) -> int:
        """F."""
        return len(self.bags)

    @property
    def width(self) -> int:
        """W: columns of the pooled vectors."""
        return self.features * self.dim

    @property
    def columns(self) -> int:
        """Columns of what is timed: W, or those of the top MLP's input."""
        return self.width if self.bottom is None else self.dim + self.features * (self.features + 1) // 2

    @property
    def quantised(self) -> bool:
        """Whether rows are codes behind a header."""
        return self.dtype in _LEVELS

    @property
    def operand(self) -> Output:
        """Format of the bottom MLP's output, and of what is multiplied: that of the rows, where they are numbers."""
        return self.output if self.quantised else self.dtype  # type: ignore[return-value]

    @property
    def vector(self) -> Any:
        """Torch's type of `operand`."""
        return self.element(self.operand)

    @property
    def flat(self) -> Any:
        """[R, E] all tables without gaps, of one dim and format.

        Raises:
            UnavailableError: rows are codes, of which torch knows nothing.
        """
        if self.quantised:
            raise UnavailableError("bench", f"takes no rows of {self.dtype}", "")
        return self._flat

    @property
    def codes(self) -> Any:
        """[R, stride] uint8: all tables of rows of codes, each row's header first."""
        return self._flat

    @property
    def row_bytes(self) -> int:
        """Bytes of a row that a look-up has to read."""
        return RowFormat(self.dtype).row_bytes(self.dim)

    @property
    def stride_bytes(self) -> int:
        """Bytes between rows."""
        return best_stride(self.dim, self.dtype) if self.quantised else self.row_bytes

    @property
    def one_hot(self) -> bool:
        """Whether every bag holds one id."""
        return set(self.bags) == {1}

    def element(self, dtype: str) -> Any:
        """Torch's type."""
        return getattr(self.world.torch, _TORCH[dtype])

    def table(self, name: str) -> Any:
        """[rows, E] of one table, a view."""
        return self.flat[self.starts[name] : self.starts[name] + self.rows[name]]

    def stored(self) -> dict[str, StoredRows]:
        """The tables as kernels are told of them."""
        start, stride = self._flat.data_ptr(), self.stride_bytes
        return {
            name: StoredRows(start + self.starts[name] * stride, rows, self.dim, self.dtype, stride)
            for name, rows in self.rows.items()
        }

    def ids(self, at: int) -> Ids:
        """Set number `at` as kernels are told of it; ids are known to lie inside their tables."""
        offsets = 0 if self.offsets is None else self.offsets.data_ptr()
        return Ids(self.values[at].data_ptr(), self.batch, "int32", offsets, "int32", length=self.length)

    def by_feature(self, at: int) -> list[Any]:
        """[B, bag] of each feature, views of set number `at`."""
        found, start = [], 0
        for bag in self.bags:
            found.append(self.values[at][start : start + self.batch * bag].view(self.batch, bag))
            start += self.batch * bag
        return found

    def global_rows(self, at: int) -> Any:
        """[L] int32 of set number `at`: rows of `flat`, feature-major as the ids are."""
        parts = [ids.reshape(-1) + first for ids, first in zip(self.by_feature(at), self.first_F, strict=True)]
        return self.world.torch.cat(parts).to(self.world.torch.int32)

    def bytes_moved(self) -> float:
        """Row bytes, ids and output of one batch."""
        element = 4 if self.output == "fp32" else 2
        near = 0 if self.bottom is None else self.batch * self.dim * self.bottom.element_size()
        return self.length * (self.row_bytes + 4) + near + self.batch * self.columns * element

    def distinct_row_bytes(self, at: int = 0) -> float:
        """Bytes of the different rows that set number `at` asks for: what has to come from memory at least."""
        torch = self.world.torch
        return float(sum(torch.unique(ids).numel() for ids in self.by_feature(at)) * self.row_bytes)

    def disagreement(self, got: Any, at: int) -> str:
        """What is wrong with [B, columns] for set number `at`; empty when nothing is.

        First and last samples are compared in float64, all others must be numbers.
        """
        torch = self.world.torch
        if tuple(got.shape) != (self.batch, self.columns):
            return f"returned shape {list(got.shape)}, not {[self.batch, self.columns]}"
        if not bool(torch.isfinite(got).all()):
            return "has elements that were never written, or are no numbers"
        for samples in (slice(0, _CHECKED), slice(max(0, self.batch - _CHECKED), self.batch)):
            wanted = self.wanted(at, samples)
            scale = float(wanted.abs().max())
            worst = float((got[samples].double() - wanted).abs().max())
            if not worst <= _TOLERANCE[self.output] * scale:
                return f"is off by {worst:.3g} where values reach {scale:.3g}"
        return ""

    def wanted(self, at: int, samples: slice) -> Any:
        """[samples, columns] float64."""
        torch = self.world.torch
        parts = [
            self._rows(feature.table, ids[samples].long()).sum(1)
            for feature, ids in zip(self.shape.model.features, self.by_feature(at), strict=True)
        ]
        if self.bottom is None:
            return torch.cat(parts, 1)
        bottom = self.bottom[samples].double()
        vectors = torch.stack([bottom, *parts], 1)
        low, high = torch.tril_indices(self.features + 1, self.features + 1, -1, device=self.world.place)
        return torch.cat([bottom, torch.bmm(vectors, vectors.transpose(1, 2))[:, low, high]], 1)

    def _rows(self, name: str, ids: Any) -> Any:
        """[..., E] float64: rows of a table as their bytes mean them."""
        if not self.quantised:
            return self.table(name)[ids].double()
        torch, first = self.world.torch, self.starts[name]
        stored = self.codes[first : first + self.rows[name]][ids]
        header = stored[..., :4].contiguous().view(torch.float16).double()
        codes = stored[..., 4 : self.row_bytes]
        if self.dtype == "int4":
            codes = torch.stack([codes & 15, codes >> 4], -1).flatten(-2)
        return codes[..., : self.dim].double() * header[..., :1] + header[..., 1:]

    def _codes(self, rows: int, generator: Any) -> Any:
        """Rows of random codes, laid out as kernels read them fastest."""
        torch, stride = self.world.torch, best_stride(self.dim, self.dtype)
        raw = self.world.empty((best_bytes(rows, self.dim, self.dtype) + 16,), torch.uint8)
        skip = (best_offset(self.dtype) - raw.data_ptr()) % 16
        found = raw[skip : skip + rows * stride].view(rows, stride)
        found.random_(0, 256, generator=generator)
        header = torch.tensor([2 / _LEVELS[self.dtype], -1.0], dtype=torch.float16).view(torch.uint8)
        found[:, :4] = header.to(found.device)
        return found

    def close(self) -> None:
        """Let go of the memory."""
        del self._flat, self.values, self.out, self.offsets, self.bottom
        self.world.close()

    def _sets(self) -> int:
        touched = sum(
            min(self.batch * bag, self.rows[feature.table]) * self.stride_bytes
            for feature, bag in zip(self.shape.model.features, self.bags, strict=True)
        )
        wanted = math.ceil(_TOUCHED_L2S * self.world.l2_bytes / max(touched, 1))
        most = min(_MOST_SETS, max(2, int(_MOST_ID_BYTES / (4 * self.length))))
        return max(min(wanted, most), min(_FEWEST_SETS, most))

    def _offsets(self) -> list[int]:
        found: list[int] = []
        start = 0
        for bag in self.bags:
            found += range(start, start + self.batch * bag, bag)
            start += self.batch * bag
        return [*found, start]


class Draw:
    """Ids of one law, drawn where the tables are.

    Hot ids are scattered over a table by a product that is a bijection of its rows.
    """

    def __init__(
        self, world: World, rows: list[int], bags: tuple[int, ...], batch: int, law: str, generator: Any
    ) -> None:
        kind, _, alpha = law.partition(":")
        if kind not in ("uniform", "zipf", "fixed"):
            raise InputError("bench", f"on a GPU ids are uniform, zipf:ALPHA or fixed, not '{law}'", "Choose one.")
        self._torch, self._generator, self._place = world.torch, generator, world.place
        self._kind, self._alpha = kind, float(alpha or 1.05)
        self._rows, self._counts = rows, [batch * bag for bag in bags]

    def __call__(self) -> Any:
        """[L] ids, feature-major."""
        return self._torch.cat([self._one(n, count) for n, count in zip(self._rows, self._counts, strict=True)])

    def _one(self, rows: int, count: int) -> Any:
        torch = self._torch
        if self._kind == "fixed":
            return torch.full((count,), rows // 2, dtype=torch.int64, device=self._place)
        even = torch.rand(count, dtype=torch.float64, device=self._place, generator=self._generator)
        if self._kind == "uniform":
            return (even * rows).long().clamp_(max=rows - 1)
        power = 1 - self._alpha
        if abs(power) < 1e-9:
            rank = torch.exp(even * math.log(rows + 1))
        else:
            rank = (even * ((rows + 1.0) ** power - 1) + 1) ** (1 / power)
        return (rank.long().clamp_(1, rows) - 1) * coprime(rows) % rows


def coprime(rows: int) -> int:
    """A factor near the golden section of `rows` that shares no divisor with it."""
    factor = max(1, round(rows * 0.6180339887))
    while math.gcd(factor, rows) != 1:
        factor += 1
    return factor
