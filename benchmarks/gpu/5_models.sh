#!/bin/bash
# How fast are whole predictions, from ids on the host to clicks on the host, beside torch's? About 9 minutes. Writes $OUT/models.jsonl.
. benchmarks/gpu/setup.sh
models() {
  timeout "$1" python3 -m recsmith.cli bench model --workload "$2" --platform "${PROFILE:-cuda}" --ids uniform --max-bytes 4GB \
    --batch "$3" --seconds 0.5 --results "$OUT/models.jsonl"
}
{
  models 360 criteo_kaggle 1,128,512,2048,16384,65536
  models 200 criteo_terabyte_10M 128,2048,16384
} 2>&1 | tee "$OUT/models.log"
