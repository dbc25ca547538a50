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

    from recsmith.spec import Progress

MARK_STYLE = {"measured": "green", "fitted": "cyan", "modelled": "yellow"}


@dataclass(frozen=True, slots=True)
class Output:
    """How one command speaks.

    Attributes:
        as_json: the result is one JSON object on stdout.
        quiet: nothing but the result and errors.
    """

    as_json: bool = False
    quiet: bool = False

    def result(self, content: dict[str, Any], render: Callable[[Console], None]) -> None:
        """Write `content` as JSON, or let `render` draw it for people."""
        if self.as_json:
            json.dump(content, sys.stdout, indent=2, default=str)
            sys.stdout.write("\n")
            return
        from rich.console import Console

        render(Console(highlight=False))

    def say(self, sentence: str) -> None:
        """One line on stderr, unless quiet."""
        if not self.quiet:
            print(sentence, file=sys.stderr)

    @contextmanager
    def progress(self, title: str) -> Iterator[Progress | None]:
        """A bar on stderr for a step that may take more than two seconds; None where nobody is watching."""
        if self.quiet or not sys.stderr.isatty():
            yield None
            return
        from rich.console import Console
        from rich.progress import Progress as Bar

        with Bar(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=None)

            def told(step: str, done: int, total: int) -> None:
                bar.update(task, description=f"{title}: {step}", completed=done, total=total)

            yield told


def mark(source: str) -> str:
    """`measured`, `fitted` or `modelled` in its colour."""
    style = MARK_STYLE.get(source, "dim")
    return f"[{style}]{source}[/{style}]"
