"""Files and functions stay small enough to be read in one go."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 80
BANNED_NAMES = {"utils", "helpers", "common", "manager", "misc", "types"}
PYTHON = sorted(path for folder in ("src", "tests", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py"))
NATIVE = sorted(path for path in (ROOT / "csrc").rglob("*") if path.suffix in {".hpp", ".cpp", ".h"})


def test_the_walk_finds_both_languages():
    assert len(PYTHON) > 40 and NATIVE


def test_no_file_has_more_than_500_lines():
    long = [
        path.relative_to(ROOT) for path in (*PYTHON, *NATIVE) if len(path.read_text().splitlines()) > MAX_FILE_LINES
    ]
    assert long == []


def test_no_function_has_more_than_80_lines():
    long = []
    for path in PYTHON:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines")
    assert long == []


def test_no_file_is_a_drawer_for_odds_and_ends():
    assert [path.relative_to(ROOT) for path in (*PYTHON, *NATIVE) if path.stem in BANNED_NAMES] == []


def test_no_boolean_argument_is_positional():
    """`f(x, True)` does not say what it turns on; the flag has to be named."""
    found = []
    for path in PYTHON:
        if ROOT / "src" not in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                positional = (*node.args.posonlyargs, *node.args.args)
                if any(isinstance(a.annotation, ast.Name) and a.annotation.id == "bool" for a in positional):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert found == []
