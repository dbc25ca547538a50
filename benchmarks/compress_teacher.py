"""How good is the teacher's table model in a tenth of its bytes?

Takes the model and the samples that quality_teacher.py left. Resumable: run it again and it goes on.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

from where import results, say

from recsmith import api
from recsmith.api.compressing import CANDIDATES
from recsmith.api.weighing import weigh
from recsmith.bench import records
from recsmith.data.store import Store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/quality_teacher"))
    parser.add_argument("--model", default="table", help="folder of the table model, in --folder")
    parser.add_argument("--part", type=float, default=0.1, help="of the model's bytes")
    parser.add_argument("--seconds", type=float, default=math.inf, help="of training in this call, then stop")
    parser.add_argument("--candidates", nargs="*", default=CANDIDATES, help="as 'recsmith compress' takes them")
    parser.add_argument("--trained", nargs="*", type=Path, default=[], help="other trainings to try, such as .../dhe")
    parser.add_argument("--steps", type=int, default=2000, help="updates of each DHE that is taught")
    asked = parser.parse_args()
    whole, samples = asked.folder / asked.model, asked.folder / "samples"
    memory = int(asked.part * weigh(api.load(whole / "model")[0]))
    done = api.compress(
        whole,
        memory,
        Store.open(samples).facts.source,
        asked.folder / ("compressed" if asked.model == "table" else f"compressed-{asked.model}"),
        candidates=asked.candidates,
        trained=asked.trained,
        steps=asked.steps,
        samples=samples,
        seconds=asked.seconds,
        told=lambda name, report: print(f"{name}, update {report.step:,}: loss {report.logloss:.4f}", flush=True),
        progress=say,
    )
    for each in done.candidates:
        print(each.name, f"{each.nbytes:,} bytes", each.quality or each.why_not)
    if done.chosen is None:
        return
    record = {"commit": records.commit(), "part": asked.part, **json.loads(done.to_json())}
    del record["folder"]
    record |= {"model": asked.model, "trained": [str(folder.name) for folder in asked.trained], "steps": asked.steps}
    with results("compress_teacher").open("a") as file:
        file.write(json.dumps(record) + "\n")
    print(f"chosen: {done.chosen}")


if __name__ == "__main__":
    main()
