"""Representations, as users write them on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from recsmith.spec import Choice, Model

Representation = Annotated[
    str,
    typer.Option(
        "--representation",
        "-r",
        metavar="NAME[:varied]|FILE",
        help="table, dhe, select, hybrid, quotient_remainder, mixed_dimension; `:varied` sizes each DHE by its table; "
        "or a file of settings.",
    ),
]


def parse(text: str) -> str | Choice | Callable[[Model], Choice]:
    """What `text` names: a representation with its usual settings, settings in a file, or DHE sized by table.

    Raises:
        FormatError: the file holds no settings.
        UnknownNameError: there is no such representation.
    """
    from recsmith.representations import REPRESENTATIONS
    from recsmith.representations.sizing import varied
    from recsmith.spec import UnknownNameError

    if text.endswith(".json"):
        return _open(Path(text))
    name, _, size = text.partition(":")
    sized: dict[str, Callable[[Model], Choice]] = {
        "dhe": varied,
        "select": lambda model: varied(model, smaller=True),
        "hybrid": lambda model: varied(model, beside=True),
    }
    if size == "varied" and name in sized:
        return sized[name]
    if size or name not in REPRESENTATIONS.names():
        known = ", ".join([*REPRESENTATIONS, *(f"{each}:varied" for each in sized)])
        raise UnknownNameError(
            "representation",
            f"there is no representation '{text}'",
            f"Choose from: {known}; or give a .json file.",
        )
    return name


def _open(path: Path) -> Choice:
    import msgspec

    from recsmith.spec import Choice, FormatError

    try:
        return msgspec.json.decode(path.read_bytes(), type=Choice)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise FormatError(
            "representation",
            f"'{path}' holds no settings of a representation: {error}",
            'Write such as {"type": "dhe", "k": 512, "hidden": [256, 128]}.',
        ) from error
