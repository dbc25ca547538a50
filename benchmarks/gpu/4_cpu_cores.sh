#!/bin/bash
# How does the look-up on processors gain from 1, 2, 4, 8, 16 threads? Builds the native module, then benchmarks/cores.py; about 8 minutes.
. benchmarks/gpu/setup.sh
python3 -m cmake --version >/dev/null 2>&1 || true
cmake -S . -B "$PLACE/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DPython_EXECUTABLE="$(command -v python3)" >/dev/null \
  && cmake --build "$PLACE/build" -j 16 | tail -n 1 || { echo "no native module"; exit 1; }
timeout 480 python3 benchmarks/cores.py --budget "${BUDGET:-450}" --results "$OUT/cpu_cores.jsonl" "$@" 2>&1 | tee "$OUT/cpu_cores.log"
