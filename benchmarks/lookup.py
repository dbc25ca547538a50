"""How fast is the look-up beside its rivals and beside what the machine allows?"""

from __future__ import annotations

import argparse
import itertools

from where import results, say

from recsmith.bench import records
from recsmith.bench.lookup import run_lookup_bench
from recsmith.bench.options import LookupOptions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workloads", nargs="+", default=["criteo_kaggle", "small84_25mb"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 128, 2048])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--ids", nargs="+", default=["uniform", "zipf:1.05"])
    parser.add_argument("--dim", type=int, help="elements a row; the workload's own when not given")
    parser.add_argument("--max-bytes", type=int, help="cut tables to one common number of rows")
    parser.add_argument("--planner", default="auto")
    parser.add_argument("--platform", help="profile written by `recsmith measure`")
    parser.add_argument("--against", nargs="+", default=list(LookupOptions("", 1).against))
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    target = results("lookup")
    for workload, threads, batch, ids in itertools.product(asked.workloads, asked.threads, asked.batches, asked.ids):
        options = LookupOptions(
            workload,
            batch,
            asked.dim,
            ids=ids,
            threads=threads,
            planner=asked.planner,
            platform=asked.platform,
            against=tuple(asked.against),
            rounds=asked.rounds,
            max_bytes=asked.max_bytes,
        )
        record = run_lookup_bench(options, say)
        records.append(target, record)
        ours = next(case for case in record.cases if case.engine == "recsmith")
        print(
            f"{workload} b{batch} {ids} {threads} threads: {ours.median_s * 1e6:.1f} us, "
            f"{record.ratio_to_best_peer or 0:.2f}x {record.best_peer}, "
            f"{record.ratio_to_best_op_peer or 0:.2f}x {record.best_op_peer} (operators), "
            f"{record.ratio_to_default or 0:.2f}x eager PyTorch, {record.ratio_to_symmetric or 0:.2f}x symmetric, "
            f"{record.share_of_bound or 0:.0%} of the bound, predicted {(record.predicted_s or 0) * 1e6:.1f} us"
        )


if __name__ == "__main__":
    main()
