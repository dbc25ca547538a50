"""How fast are look-ups on this GPU beside every rival that can be had, and beside what its memory allows?

    python benchmarks/gpu/cells.py --results OUT.jsonl --budget 480

One JSON line a cell, in order of importance; cells that a results file already has are left out, so that several short
sessions make one table. `--list` shows the cells.
"""

from __future__ import annotations

import argparse
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import msgspec

from recsmith.bench import records
from recsmith.bench.gpu.options import PEERS, GpuOptions

PLAIN = ("feature", "8 rows")
FEW = ("torch", "fbgemm", "cuembed")
LAWS = ("uniform", "zipf:1.05", "fixed")


def cells(platform: str) -> Iterator[GpuOptions]:
    """The cells, most telling first."""

    def cell(workload: str, batch: int, dim: int | None, **more: object) -> GpuOptions:
        asked: dict[str, object] = {"platform": platform, "planner": "symmetric", "strategies": ("gm",)} | more
        return GpuOptions(workload, batch, dim, **asked)  # type: ignore[arg-type]

    # One cell with every rival first: what fails is known early.
    yield cell("criteo_kaggle", 16384, 128, against=PEERS, variants=PLAIN)
    yield cell("criteo_kaggle", 65536, 128, fuse="dot", against=FEW)
    yield cell("criteo_kaggle", 65536, 128, against=PEERS, variants=PLAIN)
    yield cell("mlperf_dlrm_v2", 2048, 128, against=PEERS, variants=PLAIN)
    yield cell("mlperf_dlrm_v2", 128, 128, against=FEW, variants=("more blocks", "8 rows"))
    yield cell("criteo_kaggle", 128, 16, against=PEERS, variants=("2 rows",))
    yield cell("criteo_kaggle", 65536, 16, against=PEERS, variants=PLAIN)
    yield cell("small84_25mb", 2048, 32, against=FEW, variants=PLAIN)
    yield cell("unbalanced_10m", 2048, 64, against=FEW, variants=PLAIN)
    # The same with tables in shared memory where the planner expects a gain; it takes its time for so many cores.
    yield cell("small84_25mb", 2048, 32, planner="greedy", strategies=("gm", "l1"), against=FEW)
    yield cell("unbalanced_10m", 2048, 64, planner="greedy", strategies=("gm", "l1"), against=FEW)
    # All tables over clusters of eight, beside one launch from device memory.
    yield cell("small84_25mb", 4096, 32, against=("torch",))
    yield cell("small84_25mb", 4096, 32, planner="greedy", strategies=("l1x8",), against=())
    for dtype in ("int8", "int4"):
        yield cell("criteo_kaggle", 65536, 128, dtype=dtype, against=("fbgemm",), variants=PLAIN)
        yield cell("mlperf_dlrm_v2", 2048, 128, dtype=dtype, against=("fbgemm",), variants=PLAIN)
    yield cell("criteo_kaggle", 65536, 128, dtype="int8", fuse="dot", against=("fbgemm",))
    for law in LAWS[1:]:
        yield cell("mlperf_dlrm_v2", 16384, 128, ids=law, against=FEW)
        yield cell("criteo_kaggle", 65536, 128, ids=law, against=FEW)
        yield cell("criteo_kaggle", 65536, 128, ids=law, fuse="dot", against=("fbgemm",))
    yield cell("mlperf_dlrm_v2", 16384, 128, against=FEW, variants=PLAIN)
    for batch in (2048, 16384):
        yield cell("criteo_kaggle", batch, 128, fuse="dot", against=FEW)
        yield cell("criteo_kaggle", batch, 16, against=FEW)
        yield cell("criteo_kaggle", batch, 128, dtype="fp32", against=FEW)
    yield cell("small84_25mb", 16384, 32, against=FEW, variants=PLAIN)
    yield cell("unbalanced_10m", 16384, 64, against=FEW, variants=PLAIN)
    for batch in (1, 16):
        yield cell("criteo_kaggle", batch, 128, against=FEW)
        yield cell("mlperf_dlrm_v2", batch, 128, against=FEW, variants=("more blocks",))
    for law in LAWS[1:]:
        yield cell("small84_25mb", 2048, 32, ids=law, against=FEW)
        yield cell("unbalanced_10m", 2048, 64, ids=law, against=FEW)
        yield cell("criteo_kaggle", 65536, 16, ids=law, against=FEW)

    # What keeping the hottest tables in the L2 is worth where others sweep through it.
    yield cell("criteo_kaggle", 32768, 128, ids=LAWS[1], against=(), variants=("L2 window",))


Key = tuple[str, int, int, str, str, str, str]
"""What tells cells apart: workload, batch, dim, ids, format, interaction, planner."""


def done(paths: list[Path]) -> set[Key]:
    """Keys of the cells that files already hold."""
    found = set()
    for path in paths:
        for line in path.read_text().splitlines() if path.exists() else ():
            record = msgspec.json.decode(line, type=records.LookupRecord)
            case = record.case
            found.add((record.workload, case.batch, case.dims[0], case.ids, case.dtype, case.fuse, case.planner))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--done", type=Path, nargs="*", default=[], help="more files whose cells are left out")
    parser.add_argument("--budget", type=float, default=480.0, help="seconds after which no cell is begun")
    parser.add_argument("--platform", default="cuda", help="or a profile")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    start, had = time.monotonic(), done([options.results, *options.done])
    for asked in cells(options.platform):
        dim = asked.dim or 0
        if (asked.workload, asked.batch, dim, asked.ids, asked.dtype, asked.fuse, asked.planner) in had:
            continue
        name = f"{asked.workload} b{asked.batch} d{dim} {asked.ids} {asked.dtype} {asked.fuse} {asked.planner}"
        if options.list:
            print(name)
        elif time.monotonic() - start > options.budget:
            print(f"left: {name}")
        else:
            measured(name, asked, options.results, start)


def measured(name: str, asked: GpuOptions, results: Path, start: float) -> None:
    """One cell; a failure is told and the next one begun."""
    from recsmith.bench.gpu.run import run_gpu_lookup

    began = time.monotonic()
    try:
        record = run_gpu_lookup(asked)
    except Exception:
        print(f"[{began - start:5.0f}] {name}: failed")
        traceback.print_exc()
        return
    records.append(results, record)
    times = " ".join(f"{case.engine} {case.median_s * 1e6:.1f}" for case in record.cases)
    ratio = record.ratio_to_best_peer or 0.0
    share, took = record.share_of_bound or 0.0, time.monotonic() - began
    print(
        f"[{began - start:5.0f}] {name}: {ratio:.2f} x {record.best_peer}, {share:.0%} of the bound; "
        f"us: {times}; {took:.0f} s",
        flush=True,
    )
    for missing in record.missing:
        print(f"        missing {missing.engine}: {missing.reason}")


if __name__ == "__main__":
    main()
