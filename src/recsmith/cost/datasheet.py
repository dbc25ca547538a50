"""Speeds worked out from bandwidth and latency, for memories whose gathers nobody measured (ours)."""

from __future__ import annotations

from recsmith.spec import Memory, RowDtype
from recsmith.spec.platform import Page

from .curves import CurveSpeeds
from .footprint import lines_per_row

LOADS_IN_FLIGHT = 10
"""Line-fill buffers of a core: 10 on Intel cores since Nehalem up to Skylake, 12 and more since; a safe number."""


class DatasheetSpeeds:
    """A random row costs its lines at streaming speed, or its share of the latency, whichever is more.

    Args:
        memory: whose curves; `read` and `latency` are used, `gather` is not.
        page: pages behind the rows.
    """

    def __init__(self, memory: Memory, page: Page) -> None:
        self._curves = CurveSpeeds(memory, page)
        self._line_bytes = memory.line_bytes

    def gather_s(self, row_bytes: int, active_cores: int, alone: float) -> float | None:
        """Seconds per random row and core, in bags or not."""
        per_byte, latency = self._curves.stream_s("read", active_cores), self._curves.latency_s()
        if per_byte is None and latency is None:
            return None
        lines = lines_per_row(row_bytes, self._line_bytes)
        return lines * max((per_byte or 0.0) * self._line_bytes, (latency or 0.0) / LOADS_IN_FLIGHT)

    def widened_s(self, row_bytes: int, active_cores: int, spread_bytes: float) -> float:
        """Data sheets do not say."""
        return 0.0

    def decode_s(self, dtype: RowDtype, dim: int, alone: float) -> float:
        """Data sheets do not say."""
        return 0.0

    def stream_s(self, access: str, active_cores: int) -> float | None:
        """Seconds per byte and core; without a curve for writes they cost what reads cost."""
        return self._curves.stream_s(access, active_cores) or self._curves.stream_s("read", active_cores)

    def columns_s(self, access: str, row_bytes: int, active_cores: int) -> float | None:
        """The same for writes in pieces: data sheets do not tell them apart."""
        return self.stream_s(access, active_cores)

    def latency_s(self) -> float | None:
        """Seconds of one dependent load."""
        return self._curves.latency_s()
