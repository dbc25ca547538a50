"""The currency between strategies, which know bytes, and cost models, which know seconds."""

from __future__ import annotations

from typing import Literal

from .platform import Role, Tuning
from .popularity import Popularity
from .record import Record
from .row_format import RowDtype


class Request(Record, frozen=True):
    """`count` random reads of rows of `row_bytes` from the memory that plays `role`.

    Attributes:
        popularity: which rows they ask for, so that a cache's hit rate can be worked out.
        rows: names the rows; requests of the same name, on whichever core, share a cache's lines. Empty when
            nobody else asks for them.
        dtype, dim: how elements are stored, and how many they are, where they have to be decoded.
    """

    role: Role
    row_bytes: int
    count: float
    popularity: Popularity
    rows: str = ""
    dtype: RowDtype = "fp32"
    dim: int = 0


class Stream(Record, frozen=True):
    """`nbytes` read in order from the memory that plays `role`.

    Attributes:
        rows: names data that is read again in every batch, which caches may therefore hold; empty for data
            that is new each time.
    """

    role: Role
    nbytes: float
    rows: str = ""


class Work(Record, frozen=True):
    """What one core does for one placement in one batch.

    Attributes:
        streams: table bytes read in order.
        kept_bytes: bytes that local memory has to hold before its rows are read; where it does not keep its content
            from one batch to the next they are brought in each time.
        ids_bytes: bytes of ids, offsets and per-sample weights read in order.
        written_bytes: bytes of output or partial sums.
        vectors: how many vectors these are; a row costs more when it is a vector of its own than in a long bag.
        interleaved: whether other cores write columns of the same samples, so that lines of output lie side by side.
        apart_bytes: from one sample's output to the next, 0 when not known.
        flops: additions, multiplications and conversions of elements.
        products: elements multiplied and added for pairwise products of vectors.
        tuning: how the kernel goes about it. Strategies leave it, `interleaved` and `apart_bytes` alone; whoever
            prices a placement sets them.
    """

    requests: tuple[Request, ...] = ()
    streams: tuple[Stream, ...] = ()
    kept_bytes: float = 0.0
    ids_bytes: float = 0.0
    written_bytes: float = 0.0
    vectors: float = 0.0
    interleaved: bool = False
    apart_bytes: int = 0
    flops: float = 0.0
    products: float = 0.0
    tuning: Tuning = Tuning()


class Estimate(Record, frozen=True):
    """Seconds that a cost model expects. Never added to a `Measurement`.

    Attributes:
        breakdown: named parts; they add up to `seconds`.
        source: where the coefficients came from.
    """

    seconds: float
    breakdown: dict[str, float]
    source: Literal["modelled", "fitted", "measured"]


class Measurement(Record, frozen=True):
    """Seconds that were seen.

    Attributes:
        seconds: median.
        q1_s, q3_s: quartiles.
        runs: how many.
        cache: whether rows and ids were `warm` or `cold`.
    """

    seconds: float
    q1_s: float
    q3_s: float
    runs: int
    cache: Literal["warm", "cold"] = "cold"
