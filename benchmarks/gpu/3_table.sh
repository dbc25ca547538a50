#!/bin/bash
# How fast are look-ups beside the rivals? As many cells of cells.py as fit; a cell that is in $OUT or in the results is not run again.
. benchmarks/gpu/setup.sh
rivals
python3 benchmarks/gpu/cells.py --budget "${BUDGET:-480}" --results "$OUT/lookup.jsonl" --platform "${PROFILE:-cuda}" "$@" \
  2>&1 | tee "$OUT/table.log"
