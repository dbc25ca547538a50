"""What is timed on a GPU: anything that turns set number k of a case's ids into pooled vectors there."""

from __future__ import annotations

from typing import Any, Protocol


class GpuEngine(Protocol):
    """One way of looking up.

    Attributes:
        name, version, settings: as the record calls them.
        op_based: whether it goes through a framework's operators.
        graphable: whether its calls can be recorded as a graph; those that cannot are timed one by one, on the GPU's
            own clock.
    """

    name: str
    version: str
    settings: str
    op_based: bool
    graphable: bool

    def call(self, at: int) -> Any:
        """Look set number `at` up."""

    def output(self, result: Any) -> Any:
        """What `call` returned, as [B, W]."""

    def close(self) -> None:
        """Let go of memory."""
