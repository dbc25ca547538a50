"""Which engines a rival brings here, for every benchmark alike."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from recsmith.spec import RecsmithError, Registry, UnknownNameError


def makers(menu: Registry, peer: str) -> tuple[Sequence[Any], str]:
    """The rival's entry of the menu, and why it is empty when the rival cannot take part.

    Raises:
        UnknownNameError: the menu has no such rival.
    """
    try:
        return menu[peer], ""
    except RecsmithError as error:
        if peer not in menu.names():
            raise
        return (), error.problem
    except Exception as error:  # an installed library that fails to load
        return (), f"cannot be imported: {reason(error)}"


def known(menu: Collection[str], names: Iterable[str], what: str) -> None:
    """Return when all of `names` are on the menu.

    Raises:
        UnknownNameError: one is not.
    """
    for name in names:
        if name not in menu:
            raise UnknownNameError("bench", f"there is no {what} '{name}'", f"Choose from: {', '.join(menu)}.")


def reason(error: Exception) -> str:
    """A rival's failure, of whatever kind, in a line: it is a result and not the end."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
