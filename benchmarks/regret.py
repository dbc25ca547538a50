"""How much slower is what `auto` chose and a rehearsal settled than the best of all that could have been chosen?"""

from __future__ import annotations

import argparse

from where import results, say

from recsmith import api
from recsmith.bench import records
from recsmith.bench.prediction import SHAPES
from recsmith.bench.regret import BATCHES, LAWS, RegretOptions, run_regret_bench


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES))
    parser.add_argument("--ids", nargs="+", default=list(LAWS))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--fuse", choices=("none", "dot"), default="none")
    parser.add_argument("--arbitrary", type=int, default=20, help="plans drawn at random")
    parser.add_argument("--max-bytes", type=int, default=4_000_000_000)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--platform", help="profile written by `recsmith measure`; measured now when not given")
    asked = parser.parse_args()
    options = RegretOptions(
        tuple(asked.shapes),
        tuple(asked.ids),
        tuple(asked.batches),
        threads=asked.threads,
        fuse=asked.fuse,
        arbitrary=asked.arbitrary,
        max_bytes=asked.max_bytes,
        rounds=asked.rounds,
    )
    machine = api.platform(asked.platform) if asked.platform else api.measure(progress=say)
    record = run_regret_bench(options, machine, say)
    records.append(results("regret"), record)
    for case in record.cases:
        print(
            f"{case.workload} {case.ids} b{case.batch}: best {case.best}, auto {case.regret:+.1%} "
            f"({case.low:+.1%} to {case.high:+.1%}) of {len(case.seconds)} plans"
        )
    print(
        f"{len(record.cases)} cases: median regret {record.median_regret:.1%}, {record.clear_losses} clearly over 5 %"
    )


if __name__ == "__main__":
    main()
