#!/bin/bash
# Are the kernels clean under compute-sanitizer? About 8 minutes. Writes $OUT/sanitize.log.
. benchmarks/gpu/setup.sh
export PYTHONPATH="$PYTHONPATH:benchmarks/gpu:tests/accel"
few="(lose_nothing and 16-5) or float32_products or number or hot_rows"
for tool in memcheck racecheck initcheck synccheck; do
  echo "== $tool"
  timeout 75 compute-sanitizer --tool $tool --error-exitcode 9 python3 benchmarks/gpu/smoke.py --small
  echo "$tool of look-ups ended with $?"
  timeout 60 compute-sanitizer --tool $tool --error-exitcode 9 python3 -m pytest -p on_device -p no:cacheprovider -q -k "$few" \
    tests/accel/test_cuda_interaction.py tests/accel/test_hashed.py tests/accel/test_resident.py tests/accel/test_wgmma.py
  echo "$tool of the other kernels ended with $?"
done 2>&1 | tee "$OUT/sanitize.log"
