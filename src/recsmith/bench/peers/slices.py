"""Calls on slices of a batch by several threads at once, for operators that release the GIL but use one thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np

from recsmith.spec import Jagged


class Slices:
    """Runs one function on several slices at once: the first on the caller's thread, the others on waiting threads."""

    def __init__(self, count: int, function: Callable[[Any], Any], enter: Callable[[], object]) -> None:
        self._function = function
        self._inboxes: list[SimpleQueue[Any]] = [SimpleQueue() for _ in range(count - 1)]
        self._outbox: SimpleQueue[Any] = SimpleQueue()
        self._threads = [Thread(target=self._serve, args=(at, enter), daemon=True) for at in range(count - 1)]
        for thread in self._threads:
            thread.start()

    def _serve(self, at: int, enter: Callable[[], object]) -> None:
        enter()
        while (item := self._inboxes[at].get()) is not None:
            try:
                self._outbox.put((at + 1, self._function(item), None))
            except Exception as error:
                self._outbox.put((at + 1, None, error))

    def __call__(self, items: Sequence[Any]) -> list[Any]:
        """The function's results, one an item, in order."""
        for inbox, item in zip(self._inboxes, items[1:], strict=True):
            inbox.put(item)
        results = [self._function(items[0])] + [None] * (len(items) - 1)
        failed = None
        # All answers are taken even if one is an error: the next call must not find them.
        for _ in self._inboxes:
            at, results[at], error = self._outbox.get()
            failed = failed or error
        if failed is not None:
            raise failed
        return results

    def close(self) -> None:
        """Stop the threads."""
        for inbox in self._inboxes:
            inbox.put(None)
        for thread in self._threads:
            thread.join()


def cut(ids: Jagged, parts: int, features: int) -> list[Jagged]:
    """The batch's samples in `parts` nearly equal runs, each a batch of its own."""
    offsets = np.arange(len(ids.values) + 1) if ids.offsets is None else ids.offsets
    edges = [ids.batch * i // parts for i in range(parts + 1)]
    found = []
    for low, high in pairwise(edges):
        bounds = [offsets[f * ids.batch + low : f * ids.batch + high + 1] for f in range(features)]
        values = np.concatenate([ids.values[part[0] : part[-1]] for part in bounds])
        lengths = np.concatenate([np.diff(part) for part in bounds])
        found.append(Jagged(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), high - low))
    return found
