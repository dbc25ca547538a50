"""Recorded graphs by the form of the batch; one that is in use is given to nobody else."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from recsmith.kernels.cuda.device import Device, Memory
from recsmith.spec import InputError

from .forms import Block, Form
from .recording import Lane, Replay

KEPT_FORMS = 32
"""Forms whose graphs are kept; the one that was used longest ago makes room."""
IN_FLIGHT = 2
"""Graphs of a form: while one computes, the next batch is staged and copied."""


@dataclass(eq=False, slots=True)
class Recorded:
    """A graph, and the memory that batches of its form pass through.

    Attributes:
        memories: what its steps need besides the block.
        busy: whether a batch is passing through.
        lent: whether its results are in somebody else's hands.
        after: event behind which its results have been read there; 0 for none.
    """

    block: Block
    graph: Replay
    lane: Lane
    memories: tuple[Memory, ...]
    busy: bool = False
    lent: bool = False
    after: int = 0

    def close(self) -> None:
        """Give everything back."""
        self.graph.close()
        for memory in self.memories:
            memory.close()
        self.block.close()


class Slots:
    """Graphs that were recorded.

    Args:
        make: records the number-th graph of a form.
    """

    def __init__(self, device: Device, make: Callable[[Form, int], Recorded]) -> None:
        self._device, self._make = device, make
        self._forms: OrderedDict[Form, list[Recorded]] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False

    @property
    def forms(self) -> int:
        """How many forms have graphs."""
        return len(self._forms)

    def take(self, form: Form, *, wait: bool = True, most: int = IN_FLIGHT) -> Recorded | None:
        """A graph of `form`, recorded when there are fewer than `most`; to be given back.

        Args:
            wait: for one that is in use; None otherwise.

        Raises:
            InputError: the executable is closed.
        """
        with self._changed:
            while True:
                if self._closed:
                    raise InputError("lookup", "the executable is closed", "Compile the plan again.")
                own = self._of(form)
                found = next((one for one in own if not one.busy), None)
                if found is None and len(own) < most:
                    found = self._make(form, len(own))
                    own.append(found)
                if found is not None:
                    found.busy = True
                    return found
                if not wait:
                    return None
                self._changed.wait()

    def give(self, recorded: Recorded) -> None:
        """Take back a graph whose results have been read."""
        with self._changed:
            recorded.busy = recorded.lent = False
            if self._closed:
                recorded.close()
            self._changed.notify_all()

    def close(self) -> None:
        """Wait for batches that are passing through and give everything back; what is lent, when it comes back."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while any(one.busy and not one.lent for own in self._forms.values() for one in own):
                self._changed.wait()
            for own in self._forms.values():
                for one in own:
                    if not one.busy:
                        self._device.synchronize(one.lane.stream)
                        one.close()
            self._forms.clear()

    def _of(self, form: Form) -> list[Recorded]:
        if form not in self._forms:
            self._make_room()
            self._forms[form] = []
        self._forms.move_to_end(form)
        return self._forms[form]

    def _make_room(self) -> None:
        idle = [form for form, own in self._forms.items() if not any(one.busy for one in own)]
        for form in idle[: max(0, len(self._forms) - KEPT_FORMS + 1)]:
            for one in self._forms.pop(form):
                one.close()
