#!/bin/bash
# How fast are computed rows (DHE) beside torch in bf16, compiled as well as it can? About 8 minutes. Writes $OUT/dhe.jsonl.
. benchmarks/gpu/setup.sh
python3 benchmarks/gpu/dhe_cells.py --budget "${BUDGET:-400}" --results "$OUT/dhe.jsonl" "$@" 2>&1 | tee "$OUT/dhe.log"
