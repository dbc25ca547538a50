#!/bin/bash
# How fast are whole predictions, from ids on the host to clicks on the host, beside torch's? About 8 minutes. Writes $OUT/models.jsonl.
. benchmarks/gpu/setup.sh
for workload in criteo_kaggle criteo_terabyte_10M; do
  timeout 280 python3 -m recsmith.cli bench model --workload "$workload" --platform "${PROFILE:-cuda}" --ids uniform --max-bytes 16GB \
    --batch 1,16,128,512,2048,16384,65536 --seconds 0.5 --results "$OUT/models.jsonl" "$@"
done 2>&1 | tee "$OUT/models.log"
