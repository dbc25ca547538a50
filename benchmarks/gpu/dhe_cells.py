"""How fast are rows of deep hash embeddings on this GPU beside torch in bf16 with its best compile?

    python benchmarks/gpu/dhe_cells.py --results OUT.jsonl --budget 480

One JSON line a cell: 26 features, decoders as published and wider, in order of importance.
"""

from __future__ import annotations

import argparse
import time
import traceback
from pathlib import Path

from msgspec.structs import replace

from recsmith.bench import records
from recsmith.bench.gpu.dhe import GpuDheOptions, run_gpu_dhe

CELLS = (
    GpuDheOptions((1024, 128, 16)),
    GpuDheOptions((1024, 512, 256, 128)),
    GpuDheOptions((2048, 512, 256, 16)),
    GpuDheOptions((1024, 128, 16), batch=128),
    GpuDheOptions((1024, 512, 256, 128), batch=128),
    GpuDheOptions((1024, 128, 16), batch=16384, against=("compile",)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=480.0, help="seconds after which no cell is begun")
    parser.add_argument("--wgmma", action="store_true", help="decoders by products of warp groups too (Hopper)")
    options = parser.parse_args()
    start = time.monotonic()
    for asked in CELLS:
        name = f"{'-'.join(map(str, asked.widths))} x {asked.features}, batch {asked.batch}"
        if time.monotonic() - start > options.budget:
            print(f"left: {name}")
            continue
        try:
            record = run_gpu_dhe(replace(asked, grouped=(0, 64)) if options.wgmma else asked)
        except Exception:
            print(f"{name}: failed")
            traceback.print_exc()
            continue
        records.append(options.results, record)
        cells = ", ".join(f"{c.engine} {c.median_s * 1e6:.1f} us {c.flops_per_s / 1e12:.0f} T" for c in record.cells)
        print(f"[{time.monotonic() - start:5.0f}] {name}: {cells}", flush=True)
        for missing in record.missing:
            print(f"        missing {missing.engine}: {missing.reason}")


if __name__ == "__main__":
    main()
