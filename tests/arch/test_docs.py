"""The documents are true: their code runs, their references lead somewhere, their menus exist."""

import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from recsmith.spec import Registry
from recsmith.testing.conformance import check_strategy

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = (*sorted(DOCS.glob("*.md")), ROOT / "README.md", ROOT / "CHANGELOG.md")


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.S)


def test_the_strategy_in_adding_is_what_it_declares():
    names: dict[str, object] = {"__name__": "adding"}
    exec("\n".join(python_blocks(DOCS / "adding.md")), names)
    check_strategy(names["Twice"]())


def test_the_check_it_speaks_of_finds_a_strategy_that_declares_too_little():
    code = "\n".join(python_blocks(DOCS / "adding.md")).replace("2 * request.count", "request.count")
    names: dict[str, object] = {"__name__": "adding"}
    exec(code, names)
    with pytest.raises(AssertionError, match=r"twice: declares .* read"):
        check_strategy(names["Twice"]())


def test_every_menu_in_adding_exists():
    rows = re.findall(r"`([A-Z_]+)` in `([\w/]+)/__init__\.py`", (DOCS / "adding.md").read_text())
    assert len(rows) >= 4
    for name, folder in rows:
        assert isinstance(getattr(import_module("recsmith." + folder.replace("/", ".")), name), Registry)


def test_references_to_the_papers_page_lead_to_a_section():
    sections = set(re.findall(r"^### (\w+)\.", (DOCS / "papers.md").read_text(), re.M))
    sources = [
        path
        for folder in ("src", "csrc")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".hpp", ".cpp")
    ]
    found = {name for path in sources for name in re.findall(r"papers\.md ([A-Z]\d\w*)", path.read_text())}
    assert found and found <= sections


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_repository_lead_to_files(page):
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_example_in_the_readme_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    from recsmith.importers import artifact
    from recsmith.spec import Feature, Interaction, Mlp, Model, Table, Weights

    tables = (Table("C1", 40, 4), Table("C2", 3, 4))
    bottom, top = Mlp((2, 4), ("relu",), "bottom"), Mlp((4 + 3, 1), ("sigmoid",), "top")
    model = Model("tiny", tables, tuple(Feature(t.name, t.name) for t in tables), 2, bottom, Interaction("dot"), top)
    draw = np.random.default_rng(0)
    rows = {table.name: draw.normal(size=(table.rows, table.dim)).astype(np.float32) for table in tables}
    shapes = {"bottom.0.weight": (4, 2), "bottom.0.bias": (4,), "top.0.weight": (1, 7), "top.0.bias": (1,)}
    dense = {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    artifact.save(model, Weights(rows, dense), tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    (code,) = python_blocks(ROOT / "README.md")
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    exec(code, {})
    values = re.findall(r"0\.\d+", capsys.readouterr().out)
    assert len(values) == 128 and len(set(values)) == 1


def test_the_readme_names_every_command_and_make_target_that_it_shows():
    from recsmith.cli.app import app

    text = (ROOT / "README.md").read_text()
    names = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    shown = "".join(re.findall(r"^```\n(.*?)^```", text, re.S | re.M))
    assert set(re.findall(r"^recsmith (\w+)", shown, re.M)) == names - {"inspect"}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {"demo", "test"} <= set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.M)) <= targets
