"""torch.compile of look-up and interaction in one function."""

from __future__ import annotations

from typing import Any

import torch

from ..engine import Joint, Setup
from .interaction import Join, bmm, concatenated, products
from .torch_compile import Compiled, written_for
from .torch_tensors import tensor, weights


class CompiledJoined(Compiled):
    """One compiled function from ids to the top MLP's input."""

    name = "compile"
    form = "cat"

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        joint = setup.joint
        assert joint is not None
        join = self.join(joint)
        look_up, bottom = written_for(self.single(setup), weights(setup)), tensor(joint.bottom)

        def both(ids: list[Any], offsets: list[Any]) -> Any:
            return join(bottom, look_up(ids, offsets))

        self.settings += f"; compiled together with the interaction ({self.form})"
        self._compiled = torch.compile(both, dynamic=setup.bag_lengths is None)

    def join(self, joint: Joint) -> Join:
        """What follows the look-up."""
        made: Join = {"bmm": bmm, "products": products, "cat": concatenated}[self.form](joint)
        return made


class CompiledBmm(CompiledJoined):
    """With a batched matrix product."""

    name = "compile[bmm]"
    form = "bmm"


class CompiledProducts(CompiledJoined):
    """With sums of elementwise products."""

    name = "compile[products]"
    form = "products"


class CompiledCat(CompiledJoined):
    """With a concatenation."""

    name = "compile[cat]"
    form = "cat"


ENGINES = (CompiledBmm, CompiledProducts, CompiledCat)
