"""The native module: is it there, what was compiled in, is it older than its sources?"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

from .finding import Finding

_BUILD = "make setup, or: cmake -S . -B build -G Ninja && cmake --build build"


def native_findings(processor_isas: tuple[str, ...]) -> list[Finding]:
    """What there is to say of `recsmith._native` on a processor that has `processor_isas`, slowest first."""
    try:
        native = import_module("recsmith._native")
    except ImportError as error:
        return [Finding("native", "module", f"cannot be imported: {error}", "problem", f"Build it: {_BUILD}")]
    return [_freshness(native), *_targets(tuple(native.targets()), processor_isas)]


def _targets(usable: tuple[str, ...], processor: tuple[str, ...]) -> list[Finding]:
    best = processor[-1]
    chosen = Finding("native", "instruction set in use", usable[-1])
    if best not in usable:
        chosen = Finding(
            "native",
            "instruction set in use",
            f"{usable[-1]}, although the processor has {best}",
            "warning",
            "Build for this architecture; the wheel or build at hand leaves it out.",
        )
    return [chosen, Finding("native", "instruction sets usable", ", ".join(usable))]


def _freshness(native: ModuleType) -> Finding:
    path = Path(str(native.__file__))
    newest = newest_source(path)
    if newest is not None and newest.stat().st_mtime > path.stat().st_mtime:
        return Finding("native", "module", f"older than {newest.name}", "warning", f"Build again: {_BUILD}")
    return Finding("native", "module", path.name)


def newest_source(module: Path) -> Path | None:
    """The native source changed last, when the module lies in a checkout's src/recsmith; else None."""
    folder = module.resolve().parent.parent.parent / "csrc"
    sources = [path for path in folder.rglob("*") if path.suffix in (".cpp", ".hpp")]
    return max(sources, key=lambda path: path.stat().st_mtime, default=None)
