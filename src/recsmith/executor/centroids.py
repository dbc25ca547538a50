"""The nearest centroid's row in place of a DHE decoder's: faster, and only near. Source: [MPREC] B6, a reconstruction.

Codes are clustered when the plan is bound; a centroid's row is the mean of its members' rows (ours), which is nearest
to them. At run time one product and the largest entry of each row replace the decoder. Codes are made to be equally
unlike each other, so that most have no centroid near: measure the quality before relying on it.

U ids, K hashes, N centroids, S ids clustered, E dim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .codes import room
from .linear import Layers, import_torch, rounded
from .rows import BLOCK, DheRows

if TYPE_CHECKING:
    from torch import Tensor

# Ids that are clustered, at most.
SAMPLE = 16_384
_PASSES = 8


class CentroidRows:
    """Rows of the nearest of `count` centroids.

    Args:
        exact: computes the rows that are clustered; codes are made by it.
        ids_S: distinct ids to cluster, at least one.
        count: centroids; fewer when there are fewer ids.
    """

    def __init__(self, exact: DheRows, ids_S: NDArray[np.int64], count: int) -> None:
        self._torch = import_torch()
        self._exact = exact
        codes_SK = self._encoded(ids_S)
        rows_SE = np.empty((len(ids_S), exact.dim), np.float32)
        exact.write(ids_S, rows_SE)
        centers_NK, at_S = clustered(codes_SK, min(count, len(ids_S)))
        self._nearest = _scores(centers_NK)
        self._rows_NE = _means(rows_SE, at_S, len(centers_NK))

    def write(self, ids_U: NDArray[np.int64], out_UE: NDArray[np.float32]) -> None:
        """Write the rows of `ids_U` to `out_UE`."""
        torch = self._torch
        with torch.inference_mode():
            for start in range(0, len(ids_U), BLOCK):
                ids = ids_U[start : start + BLOCK]
                codes, written = room(rounded(len(ids)), self._exact.k, "float32")
                self._exact.encode(ids, written[: len(ids)], torch.get_num_threads())
                at = self._nearest(codes).argmax(dim=1)[: len(ids)].numpy()
                out_UE[start : start + len(ids)] = self._rows_NE[at]

    def _encoded(self, ids_S: NDArray[np.int64]) -> Tensor:
        codes_SK = np.empty((len(ids_S), self._exact.k), np.float32)
        self._exact.encode(ids_S, codes_SK, self._torch.get_num_threads())
        found: Tensor = self._torch.from_numpy(codes_SK)
        return found


def clustered(codes_SK: Tensor, count: int) -> tuple[Tensor, NDArray[np.int64]]:
    """Centroids [N, K] and the nearest one of each code [S]: k-means from the first codes on, a few passes."""
    centers_NK = codes_SK[:count].clone()
    at_S = _scores(centers_NK)(codes_SK).argmax(dim=1)
    for _ in range(_PASSES):
        sums_NK = centers_NK.new_zeros(centers_NK.shape).index_add_(0, at_S, codes_SK)
        members_N = at_S.bincount(minlength=count)[:, None]
        centers_NK = (sums_NK / members_N.clamp(min=1)).where(members_N > 0, centers_NK)
        at_S = _scores(centers_NK)(codes_SK).argmax(dim=1)
    return centers_NK, at_S.numpy()


def _scores(centers_NK: Tensor) -> Layers:
    """x . c - |c|^2 / 2 for each centroid c, which is largest for the one nearest to x."""
    return Layers([(centers_NK.numpy(), -0.5 * centers_NK.square().sum(dim=1).numpy(), "none")], "float32", BLOCK)


def _means(rows_SE: NDArray[np.float32], at_S: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """[N, E]: the mean of each centroid's rows; that of all rows for one without any."""
    members_N = np.bincount(at_S, minlength=count)
    sums_NE = np.zeros((count, rows_SE.shape[1]))
    np.add.at(sums_NE, at_S, rows_SE)
    means_NE = sums_NE / np.maximum(members_N, 1)[:, None]
    means_NE[members_N == 0] = rows_SE.mean(axis=0)
    return means_NE.astype(np.float32)
