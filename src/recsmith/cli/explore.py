"""`recsmith explore`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from recsmith.bench.units import parse_bytes, show_bytes, show_seconds

from . import held
from .convert import Steps
from .options import Json, PlannerName, Quiet, TrainingFolder, names
from .output import Output, grid, mark, plain
from .train import Data, Restart, Seconds

if TYPE_CHECKING:
    from rich.console import Console

    from recsmith.api import Explored, Making
    from recsmith.spec import Latency, Platform, RowDtype

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
        "trained, but taught the rows there are; NAME@FORMAT: rows and decoders are kept in bf16, int8, ... "
        "afterwards.",
    ),
]
Queries = Annotated[str, typer.Option(metavar="N,N", help="Samples asked for at once.")]
Target = Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="DIR/explored when not given.")]

_USUAL = (
    "table,bf16,int8,int4,quotient_remainder,mixed_dimension,select:varied,select:varied@int8,dhe:varied,"
    "dhe:varied@int8,hybrid:varied,hybrid:varied@int8,converted:select:varied,converted:select:varied@int8,"
    "converted:mixed_dimension"
)
_CONVERTED = "converted:"


def run(
    directory: TrainingFolder,
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

    Candidates are rounded or trained anew; latencies
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
            {name: _making(name) for name in names(candidates)},
            memory=_memory(memory),
            output=output,
            queries=sizes(queries),
            planner=planner,
            steps=steps,
            seconds=seconds,
            restart=restart,
            told=lambda name, report: out.say(f"{name}, update {report.step:,}: loss {report.logloss:.4f}"),
            progress=progress,
        )
    if done.paths:
        (Path(done.folder) / "paths.svg").write_text(drawn(done))
    out.result(done, lambda console: _render(console, done))


def _making(name: str) -> Making:
    from recsmith.api import Making

    rest = name.removeprefix(_CONVERTED)
    base, _, dtype = rest.partition("@")
    return Making(held.parse(base), name != rest, None if not dtype else _dtype(name, dtype))


def _dtype(name: str, dtype: str) -> RowDtype:
    from recsmith.spec import RowDtype, UnknownNameError

    if dtype not in get_args(RowDtype):
        raise UnknownNameError(
            "explore", f"candidate '{name}' wants rows in '{dtype}'", f"Choose from: {', '.join(get_args(RowDtype))}."
        )
    return cast(RowDtype, dtype)


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
