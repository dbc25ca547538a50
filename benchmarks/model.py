"""How fast are whole predictions beside PyTorch, by batch size?"""

from __future__ import annotations

import argparse

from where import results, say

from recsmith.bench import records
from recsmith.bench.model import ModelOptions, run_model_bench


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", default="criteo_kaggle")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16, 128, 512, 2048])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--planner", default="auto")
    parser.add_argument("--platform", help="profile written by `recsmith measure`")
    parser.add_argument("--max-bytes", type=int)
    asked = parser.parse_args()
    for threads in asked.threads:
        options = ModelOptions(
            asked.workload,
            tuple(asked.batches),
            threads=threads,
            planner=asked.planner,
            platform=asked.platform,
            max_bytes=asked.max_bytes,
        )
        record = run_model_bench(options, say)
        records.append(results("model"), record)
        for case in record.cases:
            print(
                f"{threads} threads b{case.batch} {case.engine}: median {case.median_s * 1e6:.1f} us, "
                f"p99 {case.p99_s * 1e6:.1f} us, {case.samples_per_s:,.0f} samples/s"
            )


if __name__ == "__main__":
    main()
