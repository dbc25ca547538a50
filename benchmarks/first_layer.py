"""How fast is the way from ids through the top MLP's first layer, with rows multiplied beforehand?"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

from where import results, say

from recsmith.bench import records
from recsmith.bench.first_layer import LayerRecord, run_layer_bench
from recsmith.bench.options import LookupOptions


def main() -> None:
    asked = _parser().parse_args()
    target = asked.results or results("first_layer")
    for dim, threads, batch in itertools.product(asked.dims, asked.threads, asked.batches):
        options = LookupOptions(
            asked.workload,
            batch,
            dim,
            ids=asked.ids,
            threads=threads,
            platform=asked.platform,
            against=tuple(asked.against),
            rounds=asked.rounds,
        )
        record = run_layer_bench(options, asked.folded_bytes, say)
        records.append(target, record)
        print(_line(record), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", default="criteo_kaggle")
    parser.add_argument("--dims", nargs="+", type=int, default=[16, 64], help="elements a row")
    parser.add_argument("--batches", nargs="+", type=int, default=[128, 2048])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--ids", default="uniform")
    parser.add_argument("--folded-bytes", type=int, default=1_500_000_000, help="that folded rows may take")
    parser.add_argument("--platform", help="profile written by `recsmith measure`")
    parser.add_argument("--against", nargs="+", default=["torch", "compile", "fbgemm"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--results", type=Path, help="another file than this machine's")
    return parser


def _line(record: LayerRecord) -> str:
    ours = next(case for case in record.cases if case.engine == "recsmith")
    case = record.case
    return (
        f"{record.workload} through the first layer ({record.outputs}), dim {'/'.join(map(str, case.dims))} "
        f"b{case.batch} {case.ids} {record.run.threads} threads: {ours.median_s * 1e6:.1f} us with "
        f"{len(record.folded)} features folded ({record.folded_bytes / 1e6:.0f} MB), "
        f"{record.ratio_to_unfolded:.2f}x unfolded, {record.ratio_to_torch or 0:.2f}x {record.best_torch}, "
        f"{record.ratio_to_best_peer or 0:.2f}x {record.best_peer}"
    )


if __name__ == "__main__":
    main()
