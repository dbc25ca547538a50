"""Does speed depend on how ids are distributed, and does one plan serve all distributions?"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from where import results, say

from recsmith.bench import records
from recsmith.bench.independence import LAWS, OWN, WORST, IndependenceOptions, run_independence_bench
from recsmith.data import drift, shapes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", default="criteo_kaggle")
    parser.add_argument("--dim", type=int)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--ids", nargs="+", default=list(LAWS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--platform", help="profile of this machine, as `recsmith measure` writes it")
    parser.add_argument("--max-bytes", type=int)
    parser.add_argument("--against", nargs="+", default=["torch", "compile", "fbgemm"])
    asked = parser.parse_args()
    shape = shapes.shape(asked.workload, asked.dim, asked.max_bytes)
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "drift.parquet"
        drift.write(shape.model, trace)
        record = run_independence_bench(
            IndependenceOptions(
                asked.workload,
                asked.batch,
                asked.dim,
                (*asked.ids, f"trace:{trace}"),
                asked.threads,
                platform=asked.platform,
                max_bytes=asked.max_bytes,
                against=tuple(asked.against),
            ),
            say,
        )
    records.append(results("independence"), record)
    for law in record.laws:
        times = {case.engine: case.median_s for case in law.cases}
        said = ", ".join(
            f"{name} {seconds * 1e6:.1f} us" for name, seconds in times.items() if name not in (WORST, OWN)
        )
        print(
            f"{law.ids}: worst-case plan {times[WORST] * 1e6:.1f} us, plan for the law "
            f"{times[OWN] * 1e6:.1f} us ({law.worst_over_own:.2f}x), busiest core {law.busiest_over_mean:.2f} of the "
            f"mean; {said}"
        )
    for name, ratio in record.slowest_over_fastest.items():
        print(f"slowest over fastest: {name} {ratio:.2f}")


if __name__ == "__main__":
    main()
