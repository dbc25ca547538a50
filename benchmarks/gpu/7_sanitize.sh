#!/bin/bash
# Are the kernels clean under compute-sanitizer? About 5 minutes. Writes $OUT/sanitize.log.
. benchmarks/gpu/setup.sh
for tool in memcheck racecheck initcheck synccheck; do
  echo "== $tool"
  timeout 120 compute-sanitizer --tool $tool --error-exitcode 9 python3 benchmarks/gpu/smoke.py --small
  echo "$tool ended with $?"
done 2>&1 | tee "$OUT/sanitize.log"
