"""Clicks drawn from a known law: a teacher with Criteo's table sizes, so that quality can be compared at any size.

The law is ours. Ids follow zipf(alpha) in every feature, independently. A sample's log-odds are

    z = bias + main * sum_f u_f[id_f] / sqrt(F) + pairs * sum_{f<g} v_f[id_f] . v_g[id_g] / sqrt(R F (F-1) / 2)
        + counts * d . w / sqrt(D)

with u, v (R numbers an id), w and the dense inputs d all standard normal, so each of the three parts has the
standard deviation that its name stands for. The label is 1 with probability 1 / (1 + exp(-z)). Nothing is known of
an id but what its own samples show: no representation can learn about an id that was never seen.

Legend: S samples, F features, D dense inputs, R latent numbers an id.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import Record, Zipf

from . import synthetic
from .readers.rows import Column, Rows

BLOCK = 1 << 16


class Teacher(Record, frozen=True):
    """The law and its seed; equal teachers draw equal samples on every machine.

    Attributes:
        names, rows: of the features and of their tables.
        alpha: of the zipf law of the ids.
        latent: R.
        bias, main, pairs, counts: see the module's equation.
    """

    names: tuple[str, ...]
    rows: tuple[int, ...]
    samples: int
    seed: int = 0
    dense_inputs: int = 13
    alpha: float = 1.05
    latent: int = 4
    bias: float = -1.25
    main: float = 1.0
    pairs: float = 0.75
    counts: float = 0.75

    def blocks(self) -> Iterator[Rows]:
        """The samples in order, `BLOCK` at a time (the last block may be smaller), with labels."""
        effects = [self._effects(feature) for feature in range(len(self.rows))]
        for block in range(-(-self.samples // BLOCK)):
            yield self._block(block, effects)[0]

    def best_logloss(self, start: int, stop: int) -> float:
        """Mean logloss of the teacher's own probabilities over the blocks that hold samples [start, stop).

        No model can be expected to do better.
        """
        effects = [self._effects(feature) for feature in range(len(self.rows))]
        losses = []
        for block in range(start // BLOCK, -(-stop // BLOCK)):
            rows, z_S = self._block(block, effects)
            low, high = max(0, start - block * BLOCK), min(len(rows), stop - block * BLOCK)
            assert rows.labels is not None
            losses.append(np.logaddexp(0, np.where(rows.labels > 0, -z_S, z_S))[low:high])
        return float(np.concatenate(losses).mean())

    def _effects(self, feature: int) -> NDArray[np.float32]:
        """[rows, 1 + R]: u, then v, of every id of a feature."""
        draw = np.random.Generator(np.random.SFC64([self.seed, 1, feature]))
        return draw.standard_normal((self.rows[feature], 1 + self.latent), dtype=np.float32)

    def _block(self, block: int, effects: list[NDArray[np.float32]]) -> tuple[Rows, NDArray[np.float64]]:
        count = min(BLOCK, self.samples - block * BLOCK)
        main_S, sum_SR, squares_S = np.zeros(count), np.zeros((count, self.latent)), np.zeros(count)
        columns = {}
        for at, (name, rows) in enumerate(zip(self.names, self.rows, strict=True)):
            draw = np.random.Generator(np.random.SFC64([self.seed, 2, block, at]))
            ids_S = synthetic.ids(Zipf(self.alpha), rows, count, draw)
            columns[name] = Column(ids_S)
            own_SE = effects[at][ids_S].astype(np.float64)
            main_S += own_SE[:, 0]
            sum_SR += own_SE[:, 1:]
            squares_S += np.square(own_SE[:, 1:]).sum(axis=1)
        draw = np.random.Generator(np.random.SFC64([self.seed, 3, block]))
        dense_SD = draw.standard_normal((count, self.dense_inputs), dtype=np.float32)
        features = len(self.rows)
        pairs_S = (np.square(sum_SR).sum(axis=1) - squares_S) / 2
        pairs_S /= np.sqrt(max(1, self.latent * features * (features - 1) / 2))
        weight_D = np.random.Generator(np.random.SFC64([self.seed, 4])).standard_normal(self.dense_inputs)
        z_S = self.bias + self.main * main_S / np.sqrt(features) + self.pairs * pairs_S
        z_S += self.counts * (dense_SD @ weight_D) / np.sqrt(max(1, self.dense_inputs))
        labels_S = (draw.random(count) < 1 / (1 + np.exp(-z_S))).astype(np.float32)
        return Rows(columns, dense_SD, labels_S), z_S
