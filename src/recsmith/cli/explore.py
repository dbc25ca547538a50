"""`recsmith explore`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsmith.bench.units import parse_bytes, show_bytes, show_seconds

from . import held
from .convert import Steps
from .options import Artifact, Json, PlannerName, Quiet, names
from .output import Output, grid, mark, plain
from .train import Data, Restart, Seconds

if TYPE_CHECKING:
    from rich.console import Console

    from recsmith.api import Explored
    from recsmith.spec import Latency, Platform

Platforms = Annotated[
    str, typer.Option("--platforms", "-p", metavar="A,B", help="`cpu` probes this machine; or profiles.")
]
Memory = Annotated[
    str, typer.Option("--memory", "-m", metavar="NAME=BYTES,...", help="For embeddings and MLPs, by platform.")
]
Candidates = Annotated[
    str,
    typer.Option(
        metavar="A,B",
        help="Representations to try, as `recsmith train` takes them, or fp16, int8, ...; converted:NAME is not "
        "trained, but taught the rows there are.",
    ),
]
Queries = Annotated[str, typer.Option(metavar="N,N", help="Samples asked for at once.")]
Target = Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="DIR/explored when not given.")]

_USUAL = (
    "table,bf16,int8,int4,quotient_remainder,mixed_dimension,select:varied,dhe:varied,hybrid:varied,"
    "converted:select:varied,converted:mixed_dimension"
)
_CONVERTED = "converted:"


def run(
    directory: Artifact,
    data: Data,
    platforms: Platforms = "cpu",
    memory: Memory = "",
    candidates: Candidates = _USUAL,
    queries: Queries = "1,16,128,1024,4096",
    output: Target = None,
    planner: PlannerName = "auto",
    steps: Steps = 2000,
    seconds: Seconds = math.inf,
    *,
    restart: Restart = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Which representation on which platform: quality, bytes and latency of each, and those that none beats.

    DIR is a folder that `recsmith train` wrote, with plain tables. Candidates are rounded or trained anew; latencies
    are measured on this machine and modelled on others. Writes paths.json and paths.svg. Run again to go on.
    """
    from recsmith import api
    from recsmith.bench.report.paths import drawn

    from .workloads import sizes

    out = Output(as_json, quiet)
    with out.progress() as progress:
        done = api.explore(
            directory,
            data,
            _platforms(platforms),
            {name: held.parse(name) for name in names(candidates) if not name.startswith(_CONVERTED)},
            conversions={
                name: held.parse(name.removeprefix(_CONVERTED))
                for name in names(candidates)
                if name.startswith(_CONVERTED)
            },
            memory=_memory(memory),
            output=output,
            queries=sizes(queries),
            planner=planner,
            steps=steps,
            seconds=seconds,
            restart=restart,
            told=lambda report: out.say(f"update {report.step:,}: loss {report.logloss:.4f}"),
            progress=progress,
        )
    if done.paths:
        (Path(done.folder) / "paths.svg").write_text(drawn(done))
    out.result(done, lambda console: _render(console, done))


def _platforms(text: str) -> dict[str, Platform]:
    from recsmith import api

    return {Path(name).stem: api.platform(name) for name in names(text)}


def _memory(text: str) -> dict[str, int]:
    from recsmith.spec import InputError

    found = {}
    for part in names(text):
        name, equals, size = part.partition("=")
        if not equals:
            raise InputError("explore", f"'{part}' gives no platform its memory", "Write cpu=2GiB,gpu=200MB.")
        found[name.strip()] = parse_bytes(size)
    return found


def _render(console: Console, done: Explored) -> None:
    sizes = [f">{query:,}" for query in done.queries]
    table = grid("path", ">bytes", ">accuracy", ">logloss", *sizes, "", title="latency by samples a query")
    for path in done.paths:
        figures = (show_bytes(path.nbytes), f"{path.accuracy:.4f}", f"{path.logloss:.4f}")
        kept = "kept" if path.name in done.kept else ""
        table.add_row(plain(path.name), *figures, *map(_latency, path.latencies), kept)
    console.print(table)
    for each in done.left_out:
        where = f" on {each.platform}" if each.platform else ""
        console.print(f"left out: {each.representation}{where}: {each.reason}", markup=False)
    console.print(f"→ {done.folder}/paths.json, paths.svg", markup=False)


def _latency(latency: Latency) -> str:
    shown = show_seconds(latency.seconds)
    return shown if latency.source == "measured" else f"{shown} {mark(latency.source)}"
