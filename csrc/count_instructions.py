#!/usr/bin/env python3
"""Instructions a row of the look-up kernels, counted by valgrind: a guard against slower code that no noise can fool.

    csrc/count_instructions.py            compares with csrc/tests/instructions.txt; fails beyond the tolerance
    csrc/count_instructions.py --write    makes the counts of this build the expected ones

Counts depend on the compiler, so those of one compiler are kept, and others are told so. valgrind has no AVX-512.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXPECTED = ROOT / "csrc/tests/instructions.txt"
BUILD = ROOT / "build-instructions"
TOLERANCE = 0.03


def compiler() -> str:
    """What built the driver, without what does not change its code: `g++ 12`."""
    name = os.environ.get("CXX", "g++")
    version = subprocess.run([name, "-dumpversion"], capture_output=True, text=True, check=True).stdout
    return f"{Path(name).name} {version.strip().split('.')[0]}"


def reason_to_skip(*, writing: bool) -> str:
    """Why nothing can be compared here, or nothing."""
    if platform.machine() != "x86_64":
        return f"counts are kept for x86_64; this is {platform.machine()}"
    if shutil.which("valgrind") is None:
        return "valgrind is not installed"
    kept = EXPECTED.read_text().splitlines()[0].removeprefix("# ") if EXPECTED.exists() else ""
    if not writing and kept != compiler():
        return f"counts are kept for {kept}; this is {compiler()}"
    return ""


def build() -> Path:
    """The driver, optimised as the extension is."""
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DRECSMITH_PYTHON=OFF", "-DRECSMITH_TESTS=ON"]
    jobs = str(os.cpu_count() or 1)
    for command in (
        ["cmake", "-S", str(ROOT), "-B", str(BUILD), *options],
        ["cmake", "--build", str(BUILD), "--target", "instructions", "-j", jobs],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return BUILD / "instructions"


def counts(driver: Path) -> dict[str, float]:
    """Case to instructions a row. Each call of `counted` is one case and one dump, in the order of what is printed."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "counts"
        tool = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}"]
        only = ["--toggle-collect=counted", "--dump-after=counted"]
        done = subprocess.run([*tool, *only, str(driver)], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"valgrind: {driver} failed\n{done.stderr[-4000:]}")
        cases = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
        totals = [_total(Path(f"{out}.{number}")) for number in range(1, len(cases) + 1)]
    return {name: total / int(rows) for (name, rows), total in zip(cases, totals, strict=True)}


def _total(dump: Path) -> int:
    return next(int(line.split()[1]) for line in dump.read_text().splitlines() if line.startswith("totals:"))


def expected() -> dict[str, float]:
    """The counts kept."""
    lines = [line.split() for line in EXPECTED.read_text().splitlines() if not line.startswith("#")]
    return {name: float(count) for name, count in lines}


def differences(found: dict[str, float], wanted: dict[str, float]) -> list[str]:
    """What is beyond the tolerance, either way: a gain that is not written down could be lost again unseen."""
    said = []
    for name in sorted(found.keys() | wanted.keys()):
        if name not in found or name not in wanted:
            said.append(f"{name}: {'not expected' if name in found else 'not counted'}")
        elif abs(found[name] / wanted[name] - 1) > TOLERANCE:
            more = "more" if found[name] > wanted[name] else "fewer"
            said.append(f"{name}: {found[name]:.2f} instructions a row, {more} than {wanted[name]:.2f}")
    return said


def main() -> int:
    """Compare, or write."""
    writing = sys.argv[1:] == ["--write"]
    if sys.argv[1:] and not writing:
        sys.exit(__doc__)
    if reason := reason_to_skip(writing=writing):
        print(f"!! skipped: {reason}")
        return int(os.environ.get("REQUIRE_ALL", "0") != "0")
    found = counts(build())
    if writing:
        lines = [f"# {compiler()}", *(f"{name} {count:.3f}" for name, count in found.items())]
        EXPECTED.write_text("\n".join(lines) + "\n")
        return 0
    problems = differences(found, expected())
    print("\n".join(problems) or f"instructions: {len(found)} counts within {TOLERANCE:.0%}")
    if problems:
        print(f"If that is meant, write it down: {Path(__file__).relative_to(ROOT)} --write")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
