"""Rows of deep hash embeddings (DHE): hashes, codes and the whole decoder in one launch over all features."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from recsmith.reference import eighths
from recsmith.reference.computed import decoder_weight
from recsmith.spec import CapacityError, Dhe, UnavailableError

from .call import IndexType, OutputType
from .gathering import OUTPUTS, Constants, fitting, output_piece
from .program import Launch, Program

Operand = Literal["fp32", "tf32", "fp16", "bf16", "fp8"]
Products = Literal["mma", "wgmma"]
Parameters = Mapping[str, NDArray[np.generic]]

# The epsilon of torch's batch norm, which the published decoder uses.
EPSILON = 1e-5
MADE_IN: dict[Products, tuple[Operand, ...]] = {"mma": ("fp32", "tf32", "fp16", "bf16"), "wgmma": ("bf16", "fp8")}
"""In which formats products multiply."""
GROUPED = "wgmma:"
"""With a format and the rows of a block ("wgmma:bf16:128"): the capability of a GPU on which such products of warp
groups were right and faster."""
GROUPED_ON = "sm_90"
"""The architecture that has them."""
_ACTIVATIONS = {"none": 0, "relu": 1, "sigmoid": 2, "mish": 3}
_TRANSFORMS = {"uniform": 0, "gaussian": 1}
_THREADS = 256
_OPERANDS: dict[Operand, int] = {"fp32": 0, "fp16": 1, "bf16": 2, "tf32": 5, "fp8": 6}
_ELEMENT_BYTES: dict[Operand, int] = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "fp8": 1}
_PANEL_BYTES = 128
_PATTERN_BYTES = 1024
_CHUNK_BYTES = 64
_CHUNK_STRIDE = _CHUNK_BYTES + 16
_MOST_HASH = 1 << 31
_MOST_SHARED_BYTES = 227 << 10


@dataclass(frozen=True, slots=True)
class HashedRows:
    """Rows to compute for one feature.

    Attributes:
        ids: address of `count` ids; each yields a row, so duplicates are best taken out before.
        parameters: address of what `packed_decoder` gave, a multiple of 16.
        out: address of the first row.
        prime, buckets: of the hash; all else is common to the features of a launch.
        counted: address of an int32, how many ids there are, at most `count`; 0 when there are just as many.
        numbers: address of int32, the numbers of the rows to write; 0 to write them in the ids' order. The same for
            all features of a launch.
    """

    ids: int
    count: int
    parameters: int
    out: int
    out_stride_bytes: int
    prime: int
    buckets: int
    counted: int = 0
    numbers: int = 0


def packed_decoder(dhe: Dhe, parameters: Parameters, dim: int, operand: Operand = "bf16") -> NDArray[np.uint8]:
    """Hash parameters, weights, biases and norm as the kernel reads them, to be put on the GPU once.

    Args:
        parameters: by their own names, as `Weights.of` gives them.
        operand: the format in which codes, weights and hidden vectors are multiplied; sums are float32.

    Raises:
        UnavailableError: hashes need more than 31 bits.
    """
    _check_hash(dhe)
    chunk = _CHUNK_BYTES // _ELEMENT_BYTES[operand]
    a, b = (np.asarray(parameters[name], np.uint64) for name in "ab")
    hashes = (a, (a << np.uint64(32)) // np.uint64(dhe.prime), b)
    parts: list[NDArray[np.generic]] = [np.pad(one.astype(np.uint32), (0, -dhe.k % 128)) for one in hashes]
    for layer in range(len(dhe.hidden) + 1):
        weight = decoder_weight(dhe, parameters, layer, dim).astype(np.float32)
        scale = eighths.scales(weight) if operand == "fp8" else np.ones(len(weight), np.float32)
        whole = np.pad(weight / scale[:, None], ((0, 0), (0, -weight.shape[1] % chunk)))
        parts += [_rounded(whole, operand), _fours(np.asarray(parameters[f"{layer}.bias"], np.float32))]
        parts += [_fours(scale)] if operand == "fp8" else []
    if dhe.batch_norm:
        parts += [_fours(part) for part in _scale_and_shift(parameters)]
    return np.concatenate([np.ascontiguousarray(part).view(np.uint8).reshape(-1) for part in parts])


def decode(
    dhe: Dhe,
    dim: int,
    features: Sequence[HashedRows],
    *,
    operand: Operand = "bf16",
    output: OutputType = "fp32",
    index: IndexType = "int64",
    rows: int = 0,
    products: Products = "mma",
) -> Launch:
    """The launch that computes the rows of all `features`, whose DHE differ in parameters, prime and buckets only.

    Source: [MPREC] B2 for what is computed; one launch, codes made beside the weights they meet: ours.

    Args:
        operand: as for `packed_decoder`; `fp32` runs on plain cores, the others on tensor cores.
        rows: that a block computes, 32, 64 or 128: more read the weights less often, fewer use more multiprocessors. 0
            takes the most whose sums fit the registers.
        products: `mma` is there on every GPU since Ampere; `wgmma` on Hopper alone (sm_90), in bf16 and fp8, for blocks
            of 64 or 128 rows. Both multiply and round the same numbers.

    Raises:
        CapacityError: a layer is wider than registers or shared memory allow, or there are too many features.
        UnavailableError: hashes need more than 31 bits, or these products are not made of such operands.
        InputError: outputs split their elements.
    """
    _check_hash(dhe)
    widths = dhe.widths(dim)
    if operand not in MADE_IN[products]:
        problem = f"products by {products} are not made in {operand}"
        raise UnavailableError("decode", problem, f"Choose from: {', '.join(MADE_IN[products])}.")
    shape = _shape(tuple(widths), operand, products)
    chosen = rows or shape.most_rows()
    scattered = any(one.numbers for one in features)
    shared_bytes = shape.shared_bytes(chosen) + 4 * chosen * scattered if chosen in shape.blocks else 0
    if not shared_bytes or shape.sums(chosen) > 128 or shared_bytes > _MOST_SHARED_BYTES:
        problem = f"a decoder of widths {widths} takes more registers or shared memory than a block has"
        raise CapacityError("decode", problem, "Use narrower hidden layers.")
    places = [place for one in features for place in (one.out, one.out_stride_bytes)]
    constants = (
        ("INDEX", {"int32": "i32", "int64": "i64"}[index]),
        ("FEATURES", str(len(features))),
        ("THREADS", str(_THREADS)),
        ("ROWS", str(chosen)),
        ("LAYERS", str(len(widths) - 1)),
        ("WIDTHS", ", ".join(map(str, widths))),
        ("ACTIVATIONS", ", ".join(str(_ACTIVATIONS[name]) for name in dhe.activations())),
        ("TRANSFORM", str(_TRANSFORMS[dhe.transform])),
        ("BATCH_NORM", str(int(dhe.batch_norm))),
        ("OPERAND", str(_OPERANDS[operand])),
        ("OUTPUT", str(OUTPUTS[output])),
        ("OUTPUT_PIECE", str(output_piece(places, output))),
        ("SHARED_BYTES", str(shared_bytes)),
        ("SCATTERED", str(int(scattered))),
        ("MIN_BLOCKS", str(2 if shape.fits_twice(chosen) else 1)),
    )
    arguments, blocks = b"", 0
    for one in features:
        if max(one.prime, one.buckets) >= _MOST_HASH:
            _check_hash(Dhe(k=dhe.k, prime=one.prime, buckets=one.buckets))
        by_buckets = (1 << 32) // one.buckets
        arguments += struct.pack("<QQQqq", one.ids, one.parameters, one.out, one.out_stride_bytes, one.count)
        arguments += struct.pack("<IIIiQQ", one.prime, one.buckets, by_buckets, blocks, one.counted, one.numbers)
        blocks += ceil(one.count / chosen)
    program = shape.program(constants)
    return Launch(program, blocks, _THREADS, fitting(arguments, len(features)), shared_bytes)


def capability(operand: Operand, rows: int) -> str:
    """What a platform says of which products of warp groups are right and faster in blocks of `rows`."""
    return f"{GROUPED}{operand}:{rows}"


def group_rows(dhe: Dhe, dim: int, operand: Operand) -> int:
    """Rows of a block by products of warp groups; 0 where a decoder cannot be made of them."""
    return _shape(tuple(dhe.widths(dim)), operand, "wgmma").most_rows() if operand in MADE_IN["wgmma"] else 0


def _check_hash(dhe: Dhe) -> None:
    if max(dhe.prime, dhe.buckets) >= _MOST_HASH:
        problem = f"hashes of prime {dhe.prime} and {dhe.buckets} buckets need more than 31 bits"
        raise UnavailableError("decode", problem, "Choose a prime below 2^31, or compute these rows on the CPU.")


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a block takes, as hashed.cu adds it up.

    Attributes:
        widths: of all layers.
        element_bytes: of codes, weights and hidden vectors.
    """

    widths: tuple[int, ...]
    element_bytes: int
    blocks: ClassVar[tuple[int, ...]] = (128, 64, 32)

    def program(self, constants: Constants) -> Program:
        """The kernel."""
        return Program("hashed.cu", "hashed", constants)

    def most_rows(self) -> int:
        """The most rows whose sums a thread holds in 128 registers; 0 when not even the fewest fit."""
        for rows in self.blocks:
            if self.sums(rows) <= 128 and self.shared_bytes(rows) <= _MOST_SHARED_BYTES:
                return rows
        return 0

    def fits_twice(self, rows: int) -> bool:
        """Whether two blocks fit a multiprocessor: one then makes codes while the other multiplies."""
        return self.sums(rows) <= 64 and 2 * self.shared_bytes(rows) <= _MOST_SHARED_BYTES

    def sums(self, rows: int) -> int:
        """That a thread holds."""
        return max(map(partial(self.columns, rows), self.widths[1:])) * rows // _THREADS if rows else 0

    def columns(self, rows: int, width: int) -> int:
        """That are computed for a layer of `width` outputs."""
        across = (_THREADS // 32) // (rows // 32)
        return ceil(width / (across * 16)) * across * 16

    def shared_bytes(self, rows: int) -> int:
        """Of a block of so many rows: ids, codes, two chunks of weights, two layers' vectors."""
        if rows == 0:
            return 0
        weights = max(self.columns(rows, width) for width in self.widths[1:]) * _CHUNK_STRIDE
        hidden = max(self.widths[1:-1], default=0) * self.element_bytes
        vectors = rows * (ceil(hidden / _CHUNK_BYTES) * _CHUNK_BYTES // 16 | 1) * 16
        return rows * 4 + rows * _CHUNK_STRIDE + 2 * weights + (2 * vectors if len(self.widths) > 2 else 0)


class _GroupShape(_Shape):
    """The same of hashed_wgmma.cu."""

    blocks: ClassVar[tuple[int, ...]] = (128, 64)

    def program(self, constants: Constants) -> Program:
        """The kernel."""
        return Program("hashed_wgmma.cu", "hashed_wgmma", constants, own=True)

    def columns(self, rows: int, width: int) -> int:
        """Of one warp group, or of two that share the rows."""
        across = (_THREADS // 128) // (rows // 64)
        return ceil(width / (across * 16)) * across * 16

    def shared_bytes(self, rows: int) -> int:
        """Two panels of codes, two of weights, hidden vectors, ids, and what is lost before the first pattern."""
        if rows == 0:
            return 0
        weights = max(self.columns(rows, width) for width in self.widths[1:]) * _PANEL_BYTES
        hidden = ceil(max(self.widths[1:-1], default=0) * self.element_bytes / _PANEL_BYTES) * rows * _PANEL_BYTES
        return 2 * rows * _PANEL_BYTES + 2 * weights + hidden + rows * 4 + _PATTERN_BYTES


def _shape(widths: tuple[int, ...], operand: Operand, products: Products) -> _Shape:
    return (_GroupShape if products == "wgmma" else _Shape)(widths, _ELEMENT_BYTES[operand])


def _rounded(values: NDArray[np.float32], operand: Operand) -> NDArray[np.generic]:
    """As the kernel multiplies them."""
    bits = values.view(np.uint32)
    match operand:
        case "fp32":
            return values
        case "tf32":
            return (bits + 0x1000) & np.uint32(0xFFFFE000)
        case "fp16":
            return values.astype(np.float16)
        case "fp8":
            return eighths.encoded(values)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _fours(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.pad(values, (0, -len(values) % 4))


def _scale_and_shift(parameters: Parameters) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    weight, bias, mean, variance = (
        parameters[f"norm.{part}"].astype(np.float64) for part in ("weight", "bias", "mean", "variance")
    )
    scale = weight / np.sqrt(variance + EPSILON)
    return scale.astype(np.float32), (bias - mean * scale).astype(np.float32)
