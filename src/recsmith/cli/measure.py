"""`recsmith measure`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsmith.bench.units import parse_seconds, show_bytes, show_seconds

from .options import Json, Quiet
from .output import Output, grid, mark

if TYPE_CHECKING:
    from rich.console import Console

    from recsmith.spec import Memory, Platform

_FEW_CORES = 64

Target = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Profile to write.")]
Budget = Annotated[str, typer.Option(metavar="TIME", help="How long it may take at most, such as 30s.")]

Kind = Annotated[
    str,
    typer.Option(
        "--platform", "-p", metavar="NAME|FILE", help="`cpu`, `cuda` for the GPU, or a profile of this machine."
    ),
]
Tune = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="Then try the kernels' parameters for each memory, row size and batch, for so long, such as 60s; run "
        "again to go on. With -p a profile that was measured is not measured again.",
    ),
]


def run(
    output: Target = Path("machine.json"),
    budget: Budget = "60s",
    platform: Kind = "cpu",
    tune: Tune = "",
    *,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure this machine: reads by row size, cache level, active cores and page size; hand-over and call costs."""
    from recsmith import api

    out = Output(as_json, quiet)
    with out.progress() as progress:
        here = api.platform(platform)
        known = bool(tune) and here.source == "measured"
        machine = here if known else api.measure(here, budget_s=parse_seconds(budget), progress=progress)
        machine.save(output)
        if tune:
            # Interrupted, it goes on from this file.
            found = output.with_suffix(".tuning.json")
            machine = api.tune(machine, budget_s=parse_seconds(tune), resume_file=found, progress=progress)
            machine.save(output)
    out.say(f"wrote {output}")
    out.result(machine, lambda console: _render(console, machine))


def _render(console: Console, machine: Platform) -> None:
    lines = grid("memory", "kind", ">size", ">cores", ">ns a 64 B row", ">read GB/s a core", "")
    for memory in _different(machine):
        gather, read = _best(memory, "gather", 64), _best(memory, "read", 0)
        lines.add_row(
            memory.id,
            memory.kind,
            show_bytes(memory.capacity_bytes),
            str(len(memory.cores)),
            "–" if gather is None else f"{gather * 1e9:.2f}",
            "–" if read is None else f"{1e-9 / read:.1f}",
            mark("measured" if memory.curves else "modelled"),
        )
    console.print(lines)
    fixed = machine.overheads
    console.print(
        f"{machine.machine}: call {show_seconds(fixed.call_s)}, task {show_seconds(fixed.task_s)}, "
        f"hand-over {show_seconds(fixed.handoff_s)}, wake-up {show_seconds(fixed.wake_s)} ({mark(machine.source)})"
    )
    for one in machine.arithmetic:
        rates = f"{1e-9 / one.flop_s:.0f} GFLOP/s and {1e-9 / one.hash_s:.1f} G hashes/s a core"
        console.print(f"{one.precision} with {one.active_cores} of the cores: {rates} ({mark('measured')})")


def _different(machine: Platform) -> list[Memory]:
    """All memories, but of those that each of many cores has for itself only the first core's."""
    first = {id for core in machine.cores[:1] for id in core.memories}
    many = len(machine.cores) > _FEW_CORES
    return [m for m in machine.memories if not many or len(m.cores) > 1 or m.id in first]


def _best(memory: Memory, access: str, row_bytes: int) -> float | None:
    """Seconds a row, or a byte, with one active core."""
    found = [c.seconds for c in memory.curves if (c.access, c.row_bytes, c.active_cores) == (access, row_bytes, 1)]
    return min(found, default=None)
