"""Where to measure: memory of both page sizes, and random places in it that do not repeat soon.

Arrays: L addresses or ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import CapacityError
from recsmith.spec.platform import Page

_DRAWN = 1 << 22
# Private footprints of the cores lie this far apart, so that no two share a huge page.
_APART_BYTES = 2 << 20


@dataclass
class Ground:
    """Memory to measure on.

    Attributes:
        buffers: one for each page size, all of `nbytes`, on the first core's node.
        outs: where kernels write, of the same pages; a slot for each core.
    """

    nbytes: int
    buffers: dict[Page, Any]
    outs: Any
    slots: int
    _drawn_L: NDArray[np.uint64]
    _at: int = field(default=0)

    @classmethod
    def take(cls, nbytes: int, core: int, pages: tuple[Page, ...], slots: int, out_bytes: int) -> Ground:
        """Memory allocated, and filled by processor `core`.

        Raises:
            CapacityError: there is not that much.
        """
        from recsmith import _native

        try:
            buffers = {page: _native.Buffer(nbytes, page, core) for page in pages}
            outs = _native.Buffer(slots * out_bytes, "huge" if "huge" in pages else "4k", core)
        except MemoryError as error:
            raise CapacityError(
                "measure", f"cannot allocate {len(pages)} x {nbytes / 1e9:.1f} GB to measure on", "Free some memory."
            ) from error
        drawn_L = np.random.default_rng(0).integers(0, 1 << 32, _DRAWN, np.uint64)
        return cls(nbytes, buffers, outs, slots, drawn_L)

    def table(self, page: Page, slot: int, footprint_bytes: int, *, private: bool) -> int:
        """Address of a core's own footprint, or of the one that all share.

        Raises:
            CapacityError: it would lie beyond the memory taken.
        """
        apart = -(-footprint_bytes // _APART_BYTES) * _APART_BYTES
        offset = slot * apart if private else 0
        if offset + footprint_bytes > self.nbytes:
            raise CapacityError(
                "measure",
                f"{self.nbytes >> 20} MB are too little for {slot + 1} cores on {footprint_bytes >> 10} kB each",
                "Free some memory.",
            )
        return int(self.buffers[page].address) + offset

    def out(self, slot: int, nbytes: int) -> int:
        """Address of a core's place to write `nbytes` to.

        Raises:
            CapacityError: the place is smaller.
        """
        each = int(self.outs.nbytes) // self.slots
        if nbytes > each:
            raise CapacityError("measure", f"{nbytes} bytes of output do not fit in {each}", "Use smaller batches.")
        return int(self.outs.address) + slot * each

    def ids(self, count: int, rows: int) -> NDArray[np.int64]:
        """[count] ids below `rows`, uniform; the next call gives others."""
        return ((self._draw(count) * np.uint64(rows)) >> np.uint64(32)).astype(np.int64)

    def addresses(self, base: int, count: int, rows: int, row_bytes: int) -> NDArray[np.uint64]:
        """[count] addresses of random rows of a table at `base`."""
        return self.ids(count, rows).astype(np.uint64) * np.uint64(row_bytes) + np.uint64(base)

    def _draw(self, count: int) -> NDArray[np.uint64]:
        parts = []
        while count > 0:
            turn, start = divmod(self._at, _DRAWN)
            take = min(count, _DRAWN - start)
            # An odd multiplier makes each pass over the drawn numbers another sequence.
            parts.append(self._drawn_L[start : start + take] * np.uint64(2 * turn + 1) & np.uint64(0xFFFFFFFF))
            self._at += take
            count -= take
        return np.concatenate(parts) if len(parts) > 1 else parts[0]
