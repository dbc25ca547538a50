#!/bin/bash
# Are the kernels right on this GPU, and clean under compute-sanitizer? About 6 minutes. Writes $OUT/smoke.log, $OUT/device.json.
. benchmarks/gpu/setup.sh
export PYTHONPATH="$PYTHONPATH:benchmarks/gpu:tests/accel"
{
  python3 -c '
from recsmith.platforms import load
machine = load("cuda")
print(machine.machine, *machine.notes[:2], sep="\n")
import os; machine.save(os.environ["OUT"] + "/device.json")'
  echo "== parity"
  timeout 200 python3 -m pytest -p on_device -p no:cacheprovider -q --durations=5 tests/accel
  echo "== executor against float64, one line a case"
  timeout 90 python3 benchmarks/gpu/smoke.py
  for tool in memcheck racecheck initcheck; do
    echo "== $tool"
    timeout 75 compute-sanitizer --tool $tool --error-exitcode 9 python3 benchmarks/gpu/smoke.py --small
    echo "$tool ended with $?"
  done
} 2>&1 | tee "$OUT/smoke.log"
