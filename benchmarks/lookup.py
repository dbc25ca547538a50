"""How fast is the look-up beside its rivals and beside what the machine allows?"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

from where import results, say

from recsmith.bench import records
from recsmith.bench.lookup import run_lookup_bench
from recsmith.bench.options import LookupOptions


def main() -> None:
    asked = _parser().parse_args()
    target = asked.results or results("lookup")
    for options in _grid(asked):
        record = run_lookup_bench(options, say)
        records.append(target, record)
        print(_line(options, record), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workloads", nargs="+", default=["criteo_kaggle", "small84_25mb"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 128, 2048])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--ids", nargs="+", default=["uniform", "zipf:1.05"])
    parser.add_argument(
        "--dims", nargs="+", type=int, default=[None], help="elements a row; each workload's own if none"
    )
    parser.add_argument("--dtypes", nargs="+", default=["fp32"], help="fp32, fp16, int8, int4")
    parser.add_argument("--fuse", nargs="+", default=["none"], help="what follows the look-up: none, dot, cat")
    parser.add_argument("--pages", nargs="+", default=["huge"], help="4k, huge")
    parser.add_argument("--max-bytes", type=int, help="cut tables to one common number of rows")
    parser.add_argument("--planner", default="auto")
    parser.add_argument("--platform", help="profile written by `recsmith measure`")
    parser.add_argument("--against", nargs="+", default=list(LookupOptions("", 1).against))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--results", type=Path, help="another file than this machine's")
    return parser


def _grid(asked: argparse.Namespace) -> Iterator[LookupOptions]:
    axes = (asked.workloads, asked.dims, asked.dtypes, asked.fuse, asked.pages, asked.threads, asked.batches, asked.ids)
    for workload, dim, dtype, fuse, pages, threads, batch, ids in itertools.product(*axes):
        yield LookupOptions(
            workload,
            batch,
            dim,
            ids=ids,
            threads=threads,
            dtype=dtype,
            pages=pages,
            planner=asked.planner,
            platform=asked.platform,
            fuse=fuse,
            max_bytes=asked.max_bytes,
            against=tuple(asked.against),
            rounds=asked.rounds,
        )


def _line(options: LookupOptions, record: records.LookupRecord) -> str:
    ours = next(case for case in record.cases if case.engine == "recsmith")
    case = record.case
    others = {
        record.best_peer: record.ratio_to_best_peer,
        f"{record.best_op_peer} (operators)": record.ratio_to_best_op_peer,
        "eager PyTorch": record.ratio_to_default,
        "symmetric": record.ratio_to_symmetric,
    }
    ratios = ", ".join(f"{ratio:.2f}x {name}" for name, ratio in others.items() if ratio)
    return (
        f"{record.workload}{records.with_interaction(case)} dim {'/'.join(map(str, case.dims))} {case.dtype} "
        f"b{case.batch} {case.ids} {options.threads} threads: {ours.median_s * 1e6:.1f} us, {ratios}, "
        f"{record.share_of_bound or 0:.0%} of the bound, predicted {(record.predicted_s or 0) * 1e6:.1f} us"
    )


if __name__ == "__main__":
    main()
