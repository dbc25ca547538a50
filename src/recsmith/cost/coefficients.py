"""What curves do not say: how the executor's parts overlap, and what its short cuts save."""

from __future__ import annotations

from recsmith.spec import Record


class Coefficients(Record, frozen=True):
    """Numbers fitted to whole look-ups, next to curves that were measured part by part.

    Attributes:
        ids: reading ids, in units of the `read` curve: the executor fetches them a step ahead.
        near_write: writing output that a private cache holds, in units of the `write` curve. `copy` curves contain
            writes to the innermost cache, and stores overlap.
        far_write: the same for output held further out: vectors lie a row of output apart, which curves of
            writing in order do not show.
        near_apart_write, far_apart_write: both where other cores write columns beside these, so that lines travel
            between private caches: in units of the `write` curve of the first shared cache.
        stream_write: stores past the caches, in units of the `stream_write` curve, for the same reason.
        setup_s: what a placement costs beyond the platform's `task_s` unless the batch takes the short cut.
        short_ids: ids in a batch up to which one core takes it.
        handoffs: times that lines travel between cores for one batch, in units of the platform's `handoff_s`.
    """

    ids: float = 1.0
    near_write: float = 1.0
    far_write: float = 1.0
    near_apart_write: float = 1.0
    far_apart_write: float = 1.0
    stream_write: float = 1.0
    setup_s: float = 0.0
    short_ids: int = 512
    handoffs: float = 1.0
