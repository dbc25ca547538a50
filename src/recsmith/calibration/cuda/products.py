"""Which products decoders of computed rows are made of on the GPU that is here (ours).

Products of warp groups (Hopper's `wgmma`) are taken where this very GPU made the same rows by them, and faster. They
are tried in a process of its own with a time limit: a kernel that fails or never ends takes nobody with it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from statistics import median

import msgspec
import numpy as np
from numpy.typing import NDArray

from recsmith.kernels.cuda.device import Device
from recsmith.kernels.cuda.hashed import (
    MADE_IN,
    HashedRows,
    Operand,
    Products,
    capability,
    decode,
    group_rows,
    packed_decoder,
)
from recsmith.kernels.cuda.program import Launch
from recsmith.reference.computed import computed_rows
from recsmith.representations import build
from recsmith.spec import Dhe, Record, RecsmithError, Table

from .probes import Probes, Room, Sizes

WAYS: tuple[Products, ...] = ("mma", "wgmma")
TIMEOUT_S = 120.0
SAME: dict[Operand, float] = {"bf16": 0.02, "fp8": 0.2}
"""Of the largest element: codes, weights and hidden vectors have eight bits of fraction, or four."""
FASTER = 0.97
"""Of the other's time, at most: more than chance."""
_ROUNDS = 3
_CHECKED = 4
_PRIME = 10_000_019


class Tried(Record, frozen=True):
    """One decoder, by either products.

    Attributes:
        operand: of warp groups; the others multiply in bf16.
        rows: of a block of warp groups; the kernel has a form for each number.
        off: largest difference between the two, and to float64, over the largest element; None if one is no number.
        mma_s, wgmma_s: of one launch.
    """

    widths: tuple[int, ...]
    operand: Operand
    rows: int
    off: float | None
    mma_s: float
    wgmma_s: float

    @property
    def better(self) -> bool:
        """Whether warp groups make the same rows, and faster."""
        return self.same and self.wgmma_s <= FASTER * self.mma_s

    @property
    def same(self) -> bool:
        """Whether both make the same rows."""
        return self.off is not None and self.off <= SAME[self.operand]

    @property
    def note(self) -> str:
        """For the profile."""
        name, way = "-".join(map(str, self.widths)), "wgmma" if self.better else "mma.sync"
        times = f"{self.wgmma_s * 1e6:.1f} us by wgmma in {self.operand}, {self.mma_s * 1e6:.1f} by mma.sync in bf16"
        off = "no numbers" if self.off is None else f"rows off by {self.off:.2g} of the largest element"
        return f"Decoders {name}: {times}, {'the same rows' if self.same else off}: {way} is chosen."


def chosen(found: Sequence[Tried]) -> tuple[str, ...]:
    """Capabilities of a platform where these were tried: the forms that did better in every decoder."""
    forms = {(one.operand, one.rows): True for one in found}
    for one in found:
        forms[one.operand, one.rows] &= one.better
    return tuple(capability(*form) for form, better in forms.items() if better)


def tried(device: Device, sizes: Sizes) -> tuple[Tried, ...]:
    """Every decoder of `sizes`, on the GPU that is here.

    Raises:
        CapacityError: a decoder is too wide for warp groups.
        DriverError, CompileError: a kernel failed.
    """
    return tuple(_tried(device, sizes, widths, operand) for widths in sizes.decoders for operand in MADE_IN["wgmma"])


def tried_apart(timeout_s: float = TIMEOUT_S) -> tuple[tuple[Tried, ...], str]:
    """The same on the first GPU, in a process of its own; and why there is nothing, or nothing."""
    command = [sys.executable, "-c", "from recsmith.calibration.cuda.products import main; main()"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return (), f"it did not end in {timeout_s:g} s"
    if run.returncode != 0:
        lines = run.stderr.strip().splitlines()
        return (), lines[-1] if lines else f"it ended with {run.returncode}"
    return msgspec.json.decode(run.stdout.splitlines()[-1], type=tuple[Tried, ...]), ""


def main() -> None:
    """Try on the first GPU and print what was found as JSON."""
    try:
        found = tried(Device(), Sizes())
    except RecsmithError as error:
        sys.exit(str(error))
    print(msgspec.json.encode(found).decode())


def _tried(device: Device, sizes: Sizes, widths: tuple[int, ...], grouped: Operand) -> Tried:
    dhe, dim = Dhe(k=widths[0], prime=_PRIME, hidden=widths[1:-1]), widths[-1]
    table = Table("t", sizes.batch, dim, computed=dhe)
    each = [build(table, seed) for seed in range(sizes.features)]
    ids = np.random.default_rng(0).integers(0, _PRIME, (sizes.features, sizes.batch))
    with Room(device) as room:
        ids_at = room.put(ids)
        launches: dict[Products, Launch] = {}
        rows: dict[Products, NDArray[np.float64]] = {}
        for way in WAYS:
            operand: Operand = grouped if way == "wgmma" else "bf16"
            packed = [room.put(packed_decoder(dhe, one, dim, operand)) for one in each]
            out = room.take(ids.size * dim * 4)
            launches[way] = _launch(dhe, dim, sizes, ids_at, packed, out, way, operand)
            device.run(launches[way])
            rows[way] = device.fetch(out, (*ids.shape, dim), "float32").astype(np.float64)
        exact = [computed_rows(table, one, own[:_CHECKED]) for one, own in zip(each, ids, strict=True)]
        apart = (rows["wgmma"] - rows["mma"], rows["wgmma"][:, :_CHECKED] - np.stack(exact))
        off = max(float(np.abs(one).max()) for one in apart) / float(np.abs(rows["mma"]).max())
        finite = all(np.isfinite(one).all() for one in rows.values())
        probes = Probes(device, 1, sizes)
        seconds: dict[Products, list[float]] = {way: [] for way in WAYS}
        for _ in range(_ROUNDS):
            for way, times in seconds.items():
                times.append(probes.graph_s([launches[way]]))
    return Tried(
        widths,
        grouped,
        group_rows(dhe, dim, grouped),
        off if finite else None,
        median(seconds["mma"]),
        median(seconds["wgmma"]),
    )


def _launch(
    dhe: Dhe, dim: int, sizes: Sizes, ids_at: int, packed: Sequence[int], out: int, way: Products, operand: Operand
) -> Launch:
    each = sizes.batch
    features = [
        HashedRows(
            ids=ids_at + 8 * each * at,
            count=each,
            parameters=own,
            out=out + 4 * dim * each * at,
            out_stride_bytes=4 * dim,
            prime=dhe.prime,
            buckets=dhe.buckets,
        )
        for at, own in enumerate(packed)
    ]
    return decode(dhe, dim, features, operand=operand, products=way)
