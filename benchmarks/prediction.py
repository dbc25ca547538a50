"""How good are predictions, and what does `auto` gain over `symmetric`?"""

from __future__ import annotations

import argparse

from where import results, say

from recsmith import api
from recsmith.bench import records
from recsmith.bench.prediction import BATCHES, LAWS, SHAPES, PredictionOptions, run_prediction_bench


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES))
    parser.add_argument("--ids", nargs="+", default=list(LAWS))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-bytes", type=int, default=8_000_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--budget", type=float, default=40.0, help="seconds for each measurement of the machine")
    parser.add_argument("--profile", help="a profile measured before, to see how well it still predicts")
    asked = parser.parse_args()
    options = PredictionOptions(
        tuple(asked.shapes),
        tuple(asked.ids),
        tuple(asked.batches),
        threads=asked.threads,
        max_bytes=asked.max_bytes,
        rounds=asked.rounds,
    )
    record = run_prediction_bench(
        options,
        api.platform("cpu"),
        lambda platform: api.measure(platform, budget_s=asked.budget),
        say,
        api.platform(asked.profile) if asked.profile else None,
    )
    records.append(results("prediction"), record)
    for case in record.cases:
        for each in case.planners:
            print(
                f"{case.workload} {case.ids} b{case.batch} {each.planner}: predicted {each.predicted_s * 1e6:.1f} us, "
                f"measured {each.measured_s * 1e6:.1f} us ({each.error:+.0%}), auto/symmetric "
                f"{case.auto_over_symmetric:.3f}, {each.owned} owned"
            )
    print(
        f"{len(record.cases)} cases: median |error| {record.median_abs_error:.1%}, 95 % of cases within "
        f"{record.p95_abs_error:.1%}, worst auto/symmetric "
        f"{record.worst_auto_over_symmetric:.3f}; drift of the machine {record.drift.median_ratio:.2f} "
        f"(worst {record.drift.worst})"
    )
    if record.stored_median_abs_error is not None:
        print(f"with {asked.profile}: {record.stored_median_abs_error:.1%}, within {record.stored_p95_abs_error:.1%}")
    for name, gain in record.gains.items():
        print(f"asymmetric: {name}: {gain:.2f}x")


if __name__ == "__main__":
    main()
