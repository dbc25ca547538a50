"""Our predictions against those of the original PyTorch model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from recsmith.spec import Batch, Executable, Model, Record

BOUND = 1e-5


class Verified(Record, frozen=True):
    """How close two engines' predictions are.

    Attributes:
        worst: the largest |ours - original|.
        largest: the largest |original|.
        bound: `worst` may be at most this times `largest`.
        passed: whether it is, and every prediction was finite.
    """

    samples: int
    worst: float
    largest: float
    bound: float
    passed: bool


def verify(model: Model, engine: Executable, checkpoint: str | Path, batches: Iterable[Batch]) -> Verified:
    """Predict `batches` with `engine` and with plain PyTorch holding the parameters of `checkpoint`.

    The original is built from the checkpoint itself and runs `nn.EmbeddingBag`, so that an importer's mistake shows.

    Args:
        checkpoint: a `DLRM_Net` state dict, as it was imported.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        UnavailableError: torch is not installed.
    """
    from recsmith.testing.torch_dlrm import load_torch_dlrm, read_state

    original = load_torch_dlrm(model, read_state(checkpoint))
    samples, worst, largest, finite = 0, 0.0, 0.0, True
    for batch in batches:
        wanted = original.predict(batch).numpy()
        found = engine.run(batch).values
        samples += len(wanted)
        finite &= bool(np.isfinite(found).all())
        worst = max(worst, float(np.abs(found - wanted).max(initial=0.0)))
        largest = max(largest, float(np.abs(wanted).max(initial=0.0)))
    return Verified(samples, worst, largest, BOUND, finite and samples > 0 and worst <= BOUND * largest)
