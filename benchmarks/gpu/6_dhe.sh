#!/bin/bash
# How fast are computed rows (DHE) beside torch in bf16, compiled as well as it can? About 8 minutes. Writes $OUT/dhe.jsonl.
# Products of warp groups are tried apart first: a kernel that fails there takes nobody with it.
. benchmarks/gpu/setup.sh
try='from recsmith.calibration.cuda.products import main; main()'
if timeout 120 python3 -c "$try" >"$OUT/wgmma.json" 2>"$OUT/wgmma.log"; then
  wgmma=--wgmma
else
  echo "wgmma is left out: $(tail -n 1 "$OUT/wgmma.log")"
fi
python3 benchmarks/gpu/dhe_cells.py --budget "${BUDGET:-400}" --results "$OUT/dhe.jsonl" $wgmma "$@" 2>&1 | tee "$OUT/dhe.log"
