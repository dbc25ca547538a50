#!/bin/bash
# Are the kernels, graphs and predictions right on this GPU? About 3 minutes. Writes $OUT/smoke.log, $OUT/device.json.
. benchmarks/gpu/setup.sh
export PYTHONPATH="$PYTHONPATH:benchmarks/gpu:tests/accel"
{
  python3 -c '
from recsmith.platforms import load
machine = load("cuda")
print(machine.machine, *machine.notes[:2], sep="\n")
import os; machine.save(os.environ["OUT"] + "/device.json")'
  echo "== parity, in parts side by side"
  parts=${PARTS:-12}
  for ((part = 0; part < parts; part++)); do
    SHARD=$part/$parts timeout 300 python3 -m pytest -p on_device -p no:cacheprovider -q tests/accel --ignore=tests/accel/test_wgmma.py \
      >"$OUT/part$part.log" 2>&1 &
  done
  wait
  tail -qn 1 "$OUT"/part*.log
  grep -h -E "^(FAILED|ERROR)" "$OUT"/part*.log
  echo "== products of warp groups, apart: no GPU has run them before"
  timeout 120 python3 -m pytest -p on_device -p no:cacheprovider -q tests/accel/test_wgmma.py || echo "wgmma: FAILED ($?)"
  echo "== executor against float64, one line a case"
  timeout 90 python3 benchmarks/gpu/smoke.py
} 2>&1 | tee "$OUT/smoke.log"
