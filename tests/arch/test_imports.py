"""The package starts fast, needs no framework to be imported, and its layers point down."""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "pyarrow", "highspy", "numba", "onnxruntime", "pandas", "typer", "rich", "fbgemm_gpu")
SECONDS = """
import sys, time
began = time.perf_counter()
import recsmith
print(time.perf_counter() - began)
print(*[name for name in sys.argv[1:] if name in sys.modules])
"""


def fresh_import() -> tuple[float, list[str]]:
    run = subprocess.run([sys.executable, "-c", SECONDS, *HEAVY], capture_output=True, text=True, check=True)
    seconds, heavy = run.stdout.split("\n")[:2]
    return float(seconds), heavy.split()


def test_importing_recsmith_loads_no_framework():
    assert fresh_import()[1] == []


def test_importing_recsmith_takes_less_than_a_fifth_of_a_second():
    assert min(fresh_import()[0] for _ in range(3)) < 0.2


def test_dependencies_point_down():
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert " 0 broken" in run.stdout


@pytest.mark.parametrize("package", ["recsmith", "recsmith.executor"])
def test_names_that_are_imported_when_asked_for_are_no_modules(package):
    """Importing a module of the same name would put it in the name's place."""
    for name in importlib.import_module(package).__all__:
        assert importlib.util.find_spec(f"{package}.{name}") is None, f"{package}.{name}"
