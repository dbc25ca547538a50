"""How fast are deep hash embeddings beside plain PyTorch, and what do repeats, caches and finished tables save?"""

from __future__ import annotations

import argparse

from msgspec.structs import replace
from where import results, say

from recsmith.bench import records
from recsmith.bench.dhe import DheCell, DheOptions, DheRecord, run_dhe_bench
from recsmith.bench.report.caches import drawn

QUESTIONS = {
    "unique": DheOptions(),
    "zipf": DheOptions(ids="zipf:1.05", shares=(0.0001, 0.001, 0.01, 0.03, 0.1), materialise=True),
    "mp-cache": DheOptions(
        ids="zipf:1.05",
        shares=(0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
        centroids=(16, 64, 256, 1024),
        materialise=True,
        rounds=15,
    ),
    "kaggle": DheOptions("criteo_kaggle", ids="uniform", rounds=8),
    "kaggle-zipf": DheOptions("criteo_kaggle", ids="zipf:1.05", rounds=8),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", choices=list(QUESTIONS), nargs="+", default=list(QUESTIONS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--rounds", type=int, help="25, or 8 for whole models")
    asked = parser.parse_args()
    for question in asked.questions:
        for threads in asked.threads:
            usual = QUESTIONS[question]
            options = replace(usual, threads=threads, batch=asked.batch, rounds=asked.rounds or usual.rounds)
            record = run_dhe_bench(options, say)
            records.append(results("dhe"), record)
            show(question, record)
            if question == "mp-cache":
                picture = results("dhe").with_name(f"mp_cache_{threads}.svg")
                picture.write_text(drawn(record))


def show(question: str, record: DheRecord) -> None:
    print(f"{question}, {record.run.threads} threads")
    for name, rates in record.rates.items():
        print(
            f"  {name}: encoder {rates.encode_s * 1e3:.2f} ms, decoder {rates.decode_s * 1e3:.2f} ms = "
            f"{rates.decoder_flops_per_s / 1e9:.0f} GFLOP/s, {rates.share:.0%} of large products"
        )
    torch = record.cells[0].median_s
    for cell in record.cells:
        print(
            f"  {cell.engine:14} {cell.median_s * 1e3:8.3f} ms  {torch / cell.median_s:7.2f}x torch"
            f"  hits {cell.hit_rate:6.1%}  computes {cell.computed:6.0f} rows  worst {cell.worst:.1e}"
            f"  error {cell.error:.1e}" + (f"  {off(cell)}" if cell.predicted_s else "")
        )


def off(cell: DheCell) -> str:
    fitted, roofline = (seconds / cell.median_s - 1 for seconds in (cell.predicted_s, cell.roofline_s))
    return f"predicted {fitted:+.0%}, by the roofline {roofline:+.0%}"


if __name__ == "__main__":
    main()
