"""The interaction as one would write it in torch, behind any rival's look-up.

Pairwise products come in two forms: `bmm`, eager, with one index_select of the lower triangle (published code indexes
with two lists, which takes twice as long); and `products`, the vectors of all pairs multiplied and summed, which
torch.compile makes one loop of: faster than its bmm for large batches, and slow when run eagerly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recsmith.spec import Jagged

from ..engine import Engine, Joint, Setup
from .torch_tensors import TorchSettings, tensor

Join = Callable[[Any, Any], Any]


def bmm(joint: Joint) -> Join:
    """(bottom [B, E], looked-up [B, W]) -> [B, I] by a batched matrix product."""
    vectors, dim = joint.vectors, joint.dim
    i, j = np.tril_indices(vectors, 0 if joint.interaction.self_terms else -1)
    pairs = torch.from_numpy(i * vectors + j)

    def join(bottom: Any, looked: Any) -> Any:
        x = torch.cat([bottom, looked], 1).view(len(bottom), vectors, dim)
        products = torch.bmm(x, x.transpose(1, 2)).view(len(bottom), vectors * vectors)
        return torch.cat([bottom, products.index_select(1, pairs)], 1)

    return join


def products(joint: Joint) -> Join:
    """The same as sums of elementwise products, to be compiled."""
    vectors, dim = joint.vectors, joint.dim
    i, j = (torch.from_numpy(x) for x in np.tril_indices(vectors, 0 if joint.interaction.self_terms else -1))

    def join(bottom: Any, looked: Any) -> Any:
        x = torch.cat([bottom, looked], 1).view(len(bottom), vectors, dim)
        return torch.cat([bottom, (x[:, i] * x[:, j]).sum(-1)], 1)

    return join


def concatenated(joint: Joint) -> Join:
    """(bottom [B, E], looked-up [B, W]) -> [B, E + W]."""
    return lambda bottom, looked: torch.cat([bottom, looked], 1)


class Joined:
    """A rival's look-up, then a torch interaction.

    Engines that look up slices of a batch side by side have it behind each slice.
    """

    def __init__(self, inner: Engine, setup: Setup, form: str, join: Join) -> None:
        assert setup.joint is not None
        self.name = f"{inner.name}+{form}"
        self.version = (
            inner.version if isinstance(inner, TorchSettings) else f"{inner.version}, torch {torch.__version__}"
        )
        self.settings = f"{inner.settings}; then torch {form}"
        self.op_based = inner.op_based
        self._inner, self._join = inner, join
        self._bottom = tensor(setup.joint.bottom)
        self._outer = TorchSettings()
        self._outer.threads = setup.threads
        self._sliced = bool(getattr(inner, "sliced", False))
        if self._sliced:
            inner.follow(self._bottom, join)  # type: ignore[attr-defined]

    def activate(self) -> None:
        """The rival's settings, and torch's where it has none."""
        if not isinstance(self._inner, TorchSettings):
            self._outer.activate()
        self._inner.activate()

    def deactivate(self) -> None:
        """Put them back."""
        self._inner.deactivate()
        if not isinstance(self._inner, TorchSettings):
            self._outer.deactivate()

    def prepare(self, ids: Jagged) -> Any:
        """As the rival wants the batch."""
        return self._inner.prepare(ids)

    def call(self, prepared: Any) -> Any:
        """[B, I], or the slices of it in order."""
        looked = self._inner.call(prepared)
        if self._sliced:
            return looked
        return self._join(self._bottom, looked if isinstance(looked, torch.Tensor) else torch.from_numpy(looked))

    def output(self, result: Any) -> NDArray[np.float32]:
        """[B, I]."""
        found: NDArray[np.float32] = (torch.cat(result) if self._sliced else result).numpy()
        return found

    def close(self) -> None:
        """Close the rival."""
        self._inner.close()


def behind(makers: Sequence[Callable[[Setup], Engine]]) -> list[Callable[[Setup], Engine]]:
    """For each maker of a rival those of the rival with each form of the interaction."""
    return [_maker(make, form) for make in makers for form in ("bmm", "compiled", "cat")]


def _maker(make: Callable[[Setup], Engine], form: str) -> Callable[[Setup], Engine]:
    def made(setup: Setup) -> Engine:
        joint = setup.joint
        assert joint is not None
        if form == "compiled":
            # Slices of several threads may differ in length, and compile for each.
            join = torch.compile(products(joint), dynamic=False)
        else:
            join = bmm(joint) if form == "bmm" else concatenated(joint)
        return Joined(make(setup), setup, form, join)

    made.name = f"{getattr(make, 'name', 'rival')}+{form}"  # type: ignore[attr-defined]
    made.form = form  # type: ignore[attr-defined]
    return made
