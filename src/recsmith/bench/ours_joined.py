"""Our own engine as far as the top MLP's input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsmith import __version__
from recsmith.spec import Jagged

from .engine import Engine, NoSettings, Setup
from .ours import Bound


class Joined(NoSettings):
    """`executable.interact(ids, bottom)`: ids checked, output allocated by the engine."""

    op_based = False

    def __init__(self, setup: Setup, bound: Bound, name: str = "recsmith") -> None:
        assert setup.joint is not None
        self.name = name
        self.version = __version__
        self._bottom = setup.joint.bottom if setup.joint.dim else None
        self._executable = bound.executable
        fused = bound.plan.bucket(setup.batch).fused
        how = f"fused in blocks of {fused.block}" if fused else "vectors written, then joined"
        self.settings = f"executable.interact(ids, bottom), {how}, ids checked, rows shared, {setup.threads} threads"

    def prepare(self, ids: Jagged) -> Any:
        """The batch as it is."""
        return ids

    def call(self, prepared: Any) -> Any:
        """The interaction's output."""
        return self._executable.interact(prepared, self._bottom)

    def output(self, result: Any) -> NDArray[np.float32]:
        """[B, I]."""
        found: NDArray[np.float32] = result.values
        return found

    def close(self) -> None:
        """Nothing: whoever bound the executable closes it."""


class JoinedInto(Joined):
    """The same into the caller's buffer."""

    def __init__(self, setup: Setup, bound: Bound) -> None:
        super().__init__(setup, bound, "recsmith[out=]")
        self._out_BI = np.empty((setup.batch, setup.columns), np.float32)

    def call(self, prepared: Any) -> Any:
        """The interaction's output, in the same array each time."""
        return self._executable.interact(prepared, self._bottom, self._out_BI)


class JoinedArrays(Joined):
    """The fast path over plain arrays."""

    def __init__(self, setup: Setup, bound: Bound) -> None:
        super().__init__(setup, bound, "recsmith[arrays]")

    def prepare(self, ids: Jagged) -> Any:
        """Values, offsets, weights and the bottom MLP's output."""
        return (ids.values, ids.offsets, None, self._bottom)

    def call(self, prepared: Any) -> Any:
        """[B, I]."""
        return self._executable.interact_arrays(*prepared)

    def output(self, result: Any) -> NDArray[np.float32]:
        """[B, I]."""
        found: NDArray[np.float32] = result
        return found


def engines(setup: Setup, bound: Bound, apart: Bound) -> list[Engine]:
    """The plan's three ways to call, and the symmetric plan that writes all vectors (`apart`)."""
    return [
        Joined(setup, bound),
        JoinedInto(setup, bound),
        JoinedArrays(setup, bound),
        Joined(setup, apart, "recsmith[written]"),
    ]
