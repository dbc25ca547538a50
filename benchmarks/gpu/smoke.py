"""Does a plan bound to this GPU yield what the oracle yields? One line a case; no framework needed."""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from recsmith import api
from recsmith.executor.cuda import compile
from recsmith.platforms import load
from recsmith.reference.computed import computed_rows
from recsmith.representations import build
from recsmith.spec import DecoderPrecision, Dhe, Feature, Jagged, Model, Serving, Table, Weights, Workload
from recsmith.testing.cases import Case, corner_cases, random_case, single
from recsmith.testing.conformance import agree

# By precision: how far computed rows may be off, of the largest element.
DHE_OFF: dict[DecoderPrecision, float] = {"fp32": 1e-5, "tf32": 0.003, "bf16": 0.02}
TOGETHER = {"l1x2": 2, "l1x4": 4, "l1x8": 8}
BAGS = [[3, 3, 7], [], [49], [1] * 40]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a few cases, for a tool that makes everything slow")
    few = parser.parse_args().small
    platform = load("cuda")
    cases = [*corner_cases("fp16")[:6], random_case(1)] if few else all_cases()
    failed = sum(not right(case, platform) for case in cases)
    flows = [flow for flow in ("l1", "gm_ub", *TOGETHER) if takes_all(platform, TOGETHER.get(flow, 1))]
    failed += sum(not right(single(flow, BAGS), platform, flow) for flow in flows)
    failed += sum(not computed_right(platform, precision) for precision in DHE_OFF)
    failed += not computed_right(platform, hot=100)
    print(f"{len(cases) + len(flows) + 1 + len(DHE_OFF)} cases, {failed} failed")
    sys.exit(failed > 0)


def takes_all(platform, together: int) -> bool:
    """Whether all multiprocessors are in groups of so many, as symmetric plans want it."""
    return sum(map(len, platform.groups(together))) == len(platform.cores)


def all_cases() -> list[Case]:
    """Corner cases in two formats, and random models of all: `tests/accel` has the rest."""
    return [*corner_cases("fp16"), *corner_cases("int8"), *map(random_case, range(20))]


def right(case: Case, platform, flow: str = "gm", device=None) -> bool:
    start = time.perf_counter()
    workload = Workload.uniform(case.model, max(case.ids.batch, 1))
    plan = api.plan(case.model, platform, workload, planner="symmetric", allow=[flow])
    try:
        with compile(case.model, plan, case.weights, platform=platform, device=device) as executable:
            looked = executable.lookup(case.ids)
            agree(case, looked.pooled, looked.sequences)
    except Exception as error:
        print(f"{case.name}: FAILED {type(error).__name__}: {str(error)[:300]}")
        return False
    print(f"{case.name}: right, {time.perf_counter() - start:.2f} s")
    return True


def computed_right(platform, precision: DecoderPrecision = "bf16", hot: int = 0, device=None) -> bool:
    """Rows of a deep hash embedding for ids that come several times; those of the first `hot` are kept."""
    table = Table("t", 1000, 16, computed=Dhe(k=64, prime=1009, hidden=(32,)))
    model, parameters = Model("DHE", (table,), (Feature("f", "t"),)), build(table, 0)
    weights = Weights({}, parameters={f"t.{name}": array for name, array in parameters.items()})
    ids = np.random.default_rng(0).integers(0, 200, 300)
    wanted = computed_rows(table, parameters, ids)
    serving = [Serving("t", "cache" if hot else "compute", hot, precision)]
    plan = api.plan(model, platform, Workload.uniform(model, 300), planner="symmetric", allow=["gm"], serving=serving)
    kept = {"t": np.arange(hot)}
    with compile(model, plan, weights, platform=platform, device=device, profile=kept) as executable:
        found = executable.lookup(Jagged(ids, None, 300)).pooled
    off = float(np.abs(found - wanted).max() / np.abs(wanted).max())
    right = off < DHE_OFF[precision]
    print(
        f"DHE in {precision}, {hot} rows kept: off by {off:.2g} of the largest element" + ("" if right else ", FAILED")
    )
    return right


if __name__ == "__main__":
    main()
