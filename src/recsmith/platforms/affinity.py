"""Where the calling thread runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def caller_on(processor: int) -> Iterator[None]:
    """Keep the calling thread on one processor; without the right to, it stays where it is.

    Threads that are started meanwhile inherit it: bind executables before.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor} & before or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
