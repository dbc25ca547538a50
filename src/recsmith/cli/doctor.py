"""`recsmith doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from .options import Json
from .output import Output, grid, plain

if TYPE_CHECKING:
    from rich.console import Console

    from recsmith.platforms.finding import Checkup

_STATUS = {
    "ok": "",
    "note": "note",
    "warning": "[yellow]warning[/yellow]",
    "problem": "[red]problem[/red]",
}


def run(*, as_json: Json = False) -> None:
    """Check the installation and the machine, on one screen: what is there, what costs speed, what to do about it."""
    from recsmith.platforms.doctor import checkup

    found = checkup()
    Output(as_json).result(found, lambda console: _render(console, found))
    if found.problems:
        raise typer.Exit(1)


def _render(console: Console, found: Checkup) -> None:
    lines = grid("", "", "found", "", "what to do")
    for area in found.areas:
        for at, finding in enumerate(finding for finding in found.findings if finding.area == area):
            heading = f"[bold]{area}[/bold]" if at == 0 else ""
            seen, remedy = plain(finding.value), plain(finding.remedy)
            lines.add_row(heading, plain(finding.name), seen, _STATUS[finding.status], remedy)
    console.print(lines)
