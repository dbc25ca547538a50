"""Registries: menus of strings. Reading one shows all there is; importing one loads nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from .errors import UnavailableError, UnknownNameError


class Registry:
    """Names to objects, loaded when asked for.

    Args:
        kind: what the entries are ("strategy"); packages elsewhere add theirs under the entry-point
            group `recsmith.<kind>`.
        menu: name to "module:attribute".
    """

    def __init__(self, kind: str, menu: Mapping[str, str]) -> None:
        self.kind = kind
        self._menu = dict(menu)

    def names(self) -> tuple[str, ...]:
        """All names: ours in menu order, then those of installed plug-ins."""
        return tuple(self._targets())

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __getitem__(self, name: str) -> Any:
        """The object called `name`.

        Raises:
            UnknownNameError: there is none; the message lists the names there are.
            UnavailableError: its module needs a package that is not installed.
        """
        targets = self._targets()
        if name not in targets:
            raise UnknownNameError(
                self.kind, f"there is no {self.kind} '{name}'", f"Choose from: {', '.join(targets)}."
            )
        module, _, attribute = targets[name].partition(":")
        try:
            return getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise UnavailableError(
                self.kind,
                f"{self.kind} '{name}' needs the package '{error.name}', which is not installed",
                f"pip install {error.name}",
            ) from error

    def _targets(self) -> dict[str, str]:
        found = dict(self._menu)
        for entry in entry_points(group=f"recsmith.{self.kind}"):
            found.setdefault(entry.name, entry.value)
        return found
