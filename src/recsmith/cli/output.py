"""Where a command's words go: the result to stdout, everything said on the way to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from recsmith.spec import Progress, Record, RecsmithError

_PIPE_COLUMNS = 140
_MARK_STYLES = {"measured": "green", "fitted": "cyan", "modelled": "yellow", "probed": "yellow"}


@dataclass(frozen=True, slots=True)
class Output:
    """How one command speaks.

    Attributes:
        as_json: the result is one JSON object on stdout.
        quiet: nothing but the result and errors.
    """

    as_json: bool = False
    quiet: bool = False

    def result(self, content: Record | dict[str, Any], render: Callable[[Console], None]) -> None:
        """Write `content` as JSON, or let `render` draw it for people."""
        if self.as_json:
            sys.stdout.write((json.dumps(content, indent=2) if isinstance(content, dict) else content.to_json()) + "\n")
            return
        from rich.console import Console

        # A file or a pipe has no width of its own; eighty columns would break the tables.
        render(Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS))

    def say(self, sentence: str) -> None:
        """One line on stderr, unless quiet."""
        if not self.quiet:
            print(sentence, file=sys.stderr)

    @contextmanager
    def progress(self) -> Iterator[Progress | None]:
        """A bar on stderr for each step it is told of; None where nobody is watching."""
        if self.quiet or not sys.stderr.isatty():
            yield None
            return
        from rich.console import Console
        from rich.progress import Progress as Bars
        from rich.progress import TaskID

        with Bars(console=Console(stderr=True), transient=True) as bars:
            tasks: dict[str, TaskID] = {}

            def told(step: str, done: int, total: int) -> None:
                if step not in tasks:
                    tasks[step] = bars.add_task(step, total=total or None)
                bars.update(tasks[step], completed=done, total=total or None)

            yield told


def fail(error: RecsmithError, *, as_json: bool) -> None:
    """Say what went wrong: a red line on stderr, or an object on stdout."""
    if as_json:
        told = {"operation": error.operation, "problem": error.problem, "remedy": error.remedy}
        sys.stdout.write(json.dumps({"error": told}, indent=2) + "\n")
        return
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(str(error), style="red"))


def mark(source: str) -> str:
    """`measured`, `fitted`, `modelled` or `probed` in its colour, as rich markup."""
    style = _MARK_STYLES.get(source, "dim")
    return f"[{style}]{source}[/{style}]"


def plain(text: str) -> str:
    """`text` as rich markup that shows it as it is, brackets included."""
    from rich.markup import escape

    return escape(text)


def grid(*columns: str, title: str = "") -> Table:
    """An empty table; columns whose name starts with `>` are numbers, set to the right.

    Cells are rich markup: pass names and other foreign text through `plain`.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=plain(title) or None, box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left")
    return table
