#!/bin/bash
# How fast are the memories, launches and the bus of this GPU? About 3 minutes. Writes $OUT/gpu.json, a profile to plan
# with.
. benchmarks/gpu/setup.sh
timeout 400 python3 -m recsmith.cli measure --platform cuda -o "$OUT/gpu.json" --budget 240s 2>&1 | tee "$OUT/limits.log"
