"""One list of look-ups that feeds parity tests and benchmarks. Corner cases have names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsmith.reference import encode
from recsmith.spec import Feature, Jagged, Model, Pooling, RowDtype, RowFormat, Table, Weights


@dataclass(frozen=True, slots=True)
class Case:
    """A model of one or more tables with weights and ids.

    Attributes:
        name: what is special about it; corner cases in capitals.
    """

    name: str
    model: Model
    weights: Weights
    ids: Jagged

    def __str__(self) -> str:
        return self.name


def single(
    name: str,
    bags: list[list[int]],
    *,
    rows: int = 50,
    dim: int = 16,
    dtype: RowDtype = "fp32",
    pooling: Pooling = "sum",
    weighted: bool = False,
    padding_id: int | None = None,
    align_bytes: int = 1,
    one_hot: bool = False,
) -> Case:
    """A case of one table; `one_hot` leaves the offsets out (every bag then holds one id)."""
    table = Table("t", rows, dim, RowFormat(dtype, align_bytes))
    feature = Feature("f", "t", pooling, weighted, padding_id)
    generator = np.random.default_rng(_seed(name, rows, dim))
    values = np.array([index for bag in bags for index in bag], dtype=np.int64)
    offsets = np.cumsum([0, *(len(bag) for bag in bags)])
    ids = Jagged(
        values=values,
        offsets=None if one_hot else offsets.astype(np.int64),
        batch=len(bags),
        weights=generator.normal(size=len(values)).astype(np.float32) if weighted else None,
    )
    stored = encode(generator.normal(size=(rows, dim)), table.format)
    return Case(name, Model(name, (table,), (feature,)), Weights({"t": stored}), ids)


def corner_cases(dtype: RowDtype = "fp32") -> tuple[Case, ...]:
    """The look-ups that kernels get wrong, one by one, for rows of `dtype`."""
    spread = [[3, 1, 4], [1], [5, 9, 2, 6], [5, 3]]
    return (
        single("ONE_HOT", [[7], [0], [49], [7]], dtype=dtype, one_hot=True),
        single("ONE_EACH_WITH_OFFSETS", [[7], [0], [49]], dtype=dtype),
        single("BAGS", spread, dtype=dtype),
        single("EMPTY_BAG", [[], [3, 1], [], [], [2]], dtype=dtype),
        single("ALL_BAGS_EMPTY", [[], [], []], dtype=dtype),
        single("EMPTY_BATCH", [], dtype=dtype),
        single("LAST_ROW", [[49, 49], [49]], dtype=dtype),
        single("ONE_ROW", [[0], [0, 0, 0], []], rows=1, dtype=dtype),
        single("ONE_ELEMENT", [[0, 2], [1]], rows=3, dim=1, dtype=dtype),
        single("ODD_DIM", spread, dim=7, dtype=dtype),
        single("ODD_DIM_ABOVE_VECTOR", spread, dim=19, dtype=dtype),
        single("PRIME_DIM", spread, dim=131, dtype=dtype),
        single("WIDE", spread, dim=512, dtype=dtype),
        single("ALL_SAME_ID", [[5] * 9] * 33, dtype=dtype),
        single("LONG_BAG", [list(range(50)) * 40, [1]], dtype=dtype),
        single("LONG_BAG_TINY_TABLE", [[0, 1, 2, 3] * 100] * 5, rows=4, dim=64, dtype=dtype),
        single("MEAN", spread, pooling="mean", dtype=dtype),
        single("MEAN_EMPTY_BAG", [[], [1, 2], []], pooling="mean", dtype=dtype),
        single("WEIGHTED", spread, weighted=True, dtype=dtype),
        single("WEIGHTED_ONE_HOT", [[1], [2], [3]], weighted=True, dtype=dtype, one_hot=True),
        single("PADDING", [[0, 3, 0], [0], [4]], padding_id=0, dtype=dtype),
        single("PADDING_MEAN", [[0, 3, 5], [0, 0], [4]], padding_id=0, pooling="mean", dtype=dtype),
        single("UNPOOLED", spread, pooling="none", dtype=dtype),
        single("UNPOOLED_EMPTY", [[], []], pooling="none", dtype=dtype),
        single("ALIGNED_ROWS", spread, dim=20, align_bytes=64, dtype=dtype),
        single("MANY_SAMPLES", [[i % 50] for i in range(777)], dtype=dtype, one_hot=True),
        single("CHUNKED_TABLE", [[i * 37 % 3000, i] for i in range(200)], rows=3000, dim=24, dtype=dtype),
    )


def random_case(seed: int, *, features: int = 4, batch: int = 9) -> Case:
    """A case drawn from `seed`: table counts, dims, formats, poolings, shared tables, bag lengths."""
    draw = np.random.default_rng(seed)
    dtypes: tuple[RowDtype, ...] = ("fp32", "fp16", "bf16", "int8", "int4")
    tables = tuple(
        Table(
            f"t{i}",
            int(draw.integers(1, 200)),
            int(draw.choice([1, 3, 8, 16, 17, 32, 64, 100])),
            RowFormat(dtypes[int(draw.integers(5))], int(draw.choice([1, 8, 64]))),
        )
        for i in range(int(draw.integers(1, features + 1)))
    )
    made = tuple(_random_feature(f"f{i}", tables, draw) for i in range(features))
    lengths = draw.integers(0, 5, size=(features, batch))
    values = [draw.integers(0, _rows(tables, feature), int(n.sum())) for feature, n in zip(made, lengths, strict=True)]
    flat = np.concatenate([np.zeros(0, np.int64), *values]).astype(np.int64)
    weights = draw.normal(size=len(flat)).astype(np.float32) if any(f.weighted for f in made) else None
    offsets = np.concatenate([[0], np.cumsum(lengths.reshape(-1))]).astype(np.int64)
    stored = {t.name: encode(draw.normal(size=(t.rows, t.dim)), t.format) for t in tables}
    return Case(f"random-{seed}", Model("random", tables, made), Weights(stored), Jagged(flat, offsets, batch, weights))


def tolerance(case: Case, wanted: NDArray[np.float64]) -> float:
    """The largest absolute error a kernel may show on `case`: float32 sums of float32 products.

    Every format decodes exactly to float32 (codes times scale plus bias rounds once more), so what differs
    from float64 is the rounding of at most `n` additions and multiplications of magnitudes that the bag holds.
    """
    longest = 1 if case.ids.offsets is None else int(np.diff(case.ids.offsets).max(initial=1))
    scale = 1.0 if case.ids.weights is None else float(np.abs(case.ids.weights).max(initial=1.0))
    largest = max(6.0 * scale, float(np.abs(wanted).max(initial=1.0)))
    return float(np.finfo(np.float32).eps) * (longest + 4) * largest


def _random_feature(name: str, tables: tuple[Table, ...], draw: np.random.Generator) -> Feature:
    table = tables[int(draw.integers(len(tables)))]
    poolings: tuple[Pooling, ...] = ("sum", "mean", "none")
    pooling = poolings[int(draw.choice(3, p=[0.5, 0.3, 0.2]))]
    padding = int(draw.integers(table.rows)) if draw.random() < 0.2 else None
    return Feature(name, table.name, pooling, pooling == "sum" and bool(draw.random() < 0.3), padding)


def _rows(tables: tuple[Table, ...], feature: Feature) -> int:
    return next(table.rows for table in tables if table.name == feature.table)


def _seed(name: str, rows: int, dim: int) -> int:
    return (sum(map(ord, name)) * 1_000_003 + rows * 1009 + dim) % 2**32
