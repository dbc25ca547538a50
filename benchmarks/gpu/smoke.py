"""Does a plan bound to this GPU yield what the oracle yields? One line a case; no framework needed."""

from __future__ import annotations

import argparse
import sys
import time

from recsmith import api
from recsmith.executor.cuda import compile
from recsmith.platforms import load
from recsmith.spec import Workload
from recsmith.testing.cases import Case, corner_cases, random_case
from recsmith.testing.conformance import agree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a few cases, for a tool that makes everything slow")
    few = parser.parse_args().small
    platform = load("cuda")
    cases = [*corner_cases("fp16")[:6], random_case(1)] if few else all_cases()
    failed = sum(not right(case, platform) for case in cases)
    print(f"{len(cases)} cases, {failed} failed")
    sys.exit(failed > 0)


def all_cases() -> list[Case]:
    """Corner cases in two formats, and random models of all: `tests/accel` has the rest."""
    return [*corner_cases("fp16"), *corner_cases("int8"), *map(random_case, range(20))]


def right(case: Case, platform) -> bool:
    start = time.perf_counter()
    workload = Workload.uniform(case.model, max(case.ids.batch, 1))
    plan = api.plan(case.model, platform, workload, planner="symmetric", allow=["gm"])
    try:
        with compile(case.model, plan, case.weights, platform=platform) as executable:
            looked = executable.lookup(case.ids)
            agree(case, looked.pooled, looked.sequences)
    except Exception as error:
        print(f"{case.name}: FAILED {type(error).__name__}: {str(error)[:300]}")
        return False
    print(f"{case.name}: right, {time.perf_counter() - start:.2f} s")
    return True


if __name__ == "__main__":
    main()
