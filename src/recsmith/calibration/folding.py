"""Whether folding features into the first top layer makes predictions faster here (ours).

B samples, D dense inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsmith.platforms.affinity import caller_on
from recsmith.spec import Batch, Executable, Jagged, Model, Objective, Platform

from .turns import Serve, Turns, by_aim, final, settled
from .whole import batches_from_far

_PLAIN, _FOLDED = "plain", "folded"


class Trial(NamedTuple):
    """Seconds of a prediction with nothing folded and with some features folded, and whether that is faster."""

    plain_s: float
    folded_s: float
    faster: bool


def trial(plain: Executable, folded: Executable, model: Model, objective: Objective, platform: Platform) -> Trial:
    """Both in turns, by the objective's aim: whole predictions, since that is what folding has to be good for."""
    turns = {
        w.name: Turns([plain, folded], batches_from_far(model, w), _predicted(model, w.batch))
        for w in objective.workloads
    }
    # The processor that plans leave to the caller: elsewhere it would get in the way of the other lanes.
    with caller_on(platform.cores[0].index):
        final(turns.values())
    spent = {name: by_aim(turns, objective, at) for at, name in enumerate((_PLAIN, _FOLDED))}
    faster = settled(spent, _PLAIN) == _FOLDED  # Otherwise it is not worth its memory.
    return Trial(median(spent[_PLAIN]), median(spent[_FOLDED]), faster)


def note(features: int, nbytes: int, chosen: int, trials: Mapping[int, Trial]) -> str:
    """What was timed and taken, in a sentence.

    Args:
        features: of the model.
        nbytes: of the folded rows.
        chosen: number of folded features; 0 for none.
        trials: by number of folded features.
    """
    times = ", ".join(
        f"{count} folded {t.folded_s * 1e6:.1f} us, none {t.plain_s * 1e6:.1f} us" for count, t in trials.items()
    )
    if not chosen:
        return f"No feature is folded into the first top layer: not faster by more than chance, timed here ({times})."
    return (
        f"{chosen} of {features} features are folded into the first top layer, {nbytes:,} bytes of rows: a prediction "
        f"is faster so, timed here ({times})."
    )


def _predicted(model: Model, batch: int) -> Serve:
    dense_BD: NDArray[np.float32] | None = None
    if model.dense_inputs:
        dense_BD = np.random.default_rng(0).random((batch, model.dense_inputs), dtype=np.float32)

    def serve(executable: Executable, ids: Jagged) -> None:
        executable.run(Batch(ids, dense_BD))

    return serve
