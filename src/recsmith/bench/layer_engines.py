"""What goes from ids through the top MLP's first layer: ours, and rivals' look-ups with a torch product behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsmith import __version__
from recsmith.spec import Jagged

from .engine import Engine, NoSettings, Setup


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """torch with `count` intra-op threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


Named = tuple[str, Callable[[Setup], Engine]]


class Layered(NoSettings):
    """`executable.first_layer(ids, bottom)`."""

    op_based = False

    def __init__(self, setup: Setup, executable: Any, name: str) -> None:
        assert setup.joint is not None
        self.name, self.version, self.executable = name, __version__, executable
        self._bottom = setup.joint.bottom if setup.joint.dim else None
        self._threads = setup.threads
        self.settings = (
            f"executable.first_layer(ids, bottom), {len(executable.names)} features folded, the others through oneDNN, "
            f"ids checked, {setup.threads} threads, as many intra-op"
        )

    def activate(self) -> None:
        """Set torch's threads, which run the product."""
        self._context = torch_threads(self._threads)
        self._context.__enter__()

    def deactivate(self) -> None:
        """Put them back."""
        self._context.__exit__(None, None, None)

    def prepare(self, ids: Jagged) -> Any:
        """The batch as it is."""
        return ids

    def call(self, prepared: Any) -> Any:
        """The layer's output."""
        return self.executable.first_layer(prepared, self._bottom)

    def output(self, result: Any) -> NDArray[np.float32]:
        """[B, O]."""
        found: NDArray[np.float32] = result.values
        return found

    def close(self) -> None:
        """Nothing: whoever bound the executable closes it."""


def engines(
    peer: str,
    makers: Sequence[Callable[[Setup], Engine]],
    weight_OI: NDArray[np.float32],
    bias_O: NDArray[np.float32],
) -> list[Named]:
    """For each maker of a rival those of the rival with the layer behind it, and look-up and layer compiled together.

    `linear` is torch's own product, `onednn` the faster one that our executor uses too.
    """
    import torch

    from recsmith.executor.linear import Packed

    from .peers import compile_joined
    from .peers.interaction import Joined, concatenated

    weight, bias = torch.from_numpy(weight_OI), torch.from_numpy(bias_O)
    packed = Packed((weight_OI, bias_O, "relu"), "float32", 128)

    def linear(bottom: Any, looked: Any) -> Any:
        return torch.nn.functional.linear(torch.cat([bottom, looked], 1), weight, bias).relu_()

    def onednn(bottom: Any, looked: Any) -> Any:
        return packed(torch.cat([bottom, looked], 1))

    def behind(make: Callable[[Setup], Engine], form: str, join: Any) -> Named:
        return f"{getattr(make, 'name', peer)}+{form}", lambda setup: Joined(make(setup), setup, form, join)

    found = [behind(make, form, join) for make in makers for form, join in (("linear", linear), ("onednn", onednn))]
    if peer == "compile":

        class CompiledLayer(compile_joined.CompiledJoined):
            """Look-up, concatenation and layer in one compiled function."""

            name = "compile[linear]"

            def join(self, joint: Any) -> Any:
                """Concatenation, product, activation."""
                cat = concatenated(joint)
                return lambda bottom, looked: torch.nn.functional.linear(cat(bottom, looked), weight, bias).relu()

        found.append((CompiledLayer.name, CompiledLayer))
    return found
