"""Parameters whose rows come nearest to given ones, where a formula yields them (ours).

Nearest: the least sum of squared differences over all rows. M rows, E dim, W width, C collisions, Q quotients.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import MixedDimension, QuotientRemainder, Table

Arrays = dict[str, NDArray[np.generic]]


def closest(table: Table, rows_ME: NDArray[np.float32]) -> Arrays:
    """Parameters of a quotient-remainder or mixed-dimension `table`."""
    match table.computed:
        case MixedDimension(width=width):
            return _projected(rows_ME, width)
        case QuotientRemainder(collisions=collisions, combine="multiply"):
            return _multiplied(rows_ME, collisions)
        case QuotientRemainder(collisions=collisions):
            return _added(rows_ME, collisions)
    raise AssertionError(f"no formula yields the parameters of table '{table.name}'")


def _projected(rows_ME: NDArray[np.float32], width: int) -> Arrays:
    """The W principal axes of the rows, zeros where there are fewer."""
    moments_EE = rows_ME.T.astype(np.float64) @ rows_ME
    axes_EW = np.linalg.eigh(moments_EE)[1][:, ::-1][:, :width]
    projection_EW = np.zeros((rows_ME.shape[1], width), np.float32)
    projection_EW[:, : axes_EW.shape[1]] = axes_EW
    return {"narrow": rows_ME @ projection_EW, "projection": projection_EW}


def _multiplied(rows_ME: NDArray[np.float32], collisions: int) -> Arrays:
    """For each element, the product of a column and a row that is nearest to its [Q, C] matrix."""
    blocks_QCE, last_CE = _blocks(rows_ME, collisions)
    if not len(blocks_QCE):
        return _pair(np.ones((1, rows_ME.shape[1])), _padded(last_CE, collisions))
    gram_ECC = np.einsum("qce,qde->ecd", blocks_QCE, blocks_QCE, dtype=np.float64)
    remainder_CE = np.linalg.eigh(gram_ECC)[1][:, :, -1].T
    quotient_QE = np.einsum("qce,ce->qe", blocks_QCE, remainder_CE)
    if len(last_CE):
        own_CE = remainder_CE[: len(last_CE)]
        norm_E = np.square(own_CE).sum(axis=0)
        last_E = (last_CE * own_CE).sum(axis=0) / np.where(norm_E > 0, norm_E, 1)
        quotient_QE = np.vstack([quotient_QE, last_E])
    return _pair(quotient_QE, remainder_CE)


def _added(rows_ME: NDArray[np.float32], collisions: int) -> Arrays:
    """Means over each quotient, and what each remainder lies above them on average."""
    blocks_QCE, last_CE = _blocks(rows_ME, collisions)
    if not len(blocks_QCE):
        return _pair(np.zeros((1, rows_ME.shape[1])), _padded(last_CE, collisions))
    quotient_QE = blocks_QCE.mean(axis=1, dtype=np.float64)
    remainder_CE = (blocks_QCE - quotient_QE[:, None]).mean(axis=0)
    if len(last_CE):
        quotient_QE = np.vstack([quotient_QE, (last_CE - remainder_CE[: len(last_CE)]).mean(axis=0)])
    return _pair(quotient_QE, remainder_CE)


def _blocks(rows_ME: NDArray[np.float32], collisions: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rows of whole quotients [Q, C, E], and of the last one if it is not whole. (Nearest over the whole ones.)"""
    whole = len(rows_ME) // collisions
    blocks_QCE = rows_ME[: whole * collisions].reshape(whole, collisions, rows_ME.shape[1])
    return blocks_QCE, rows_ME[whole * collisions :]


def _padded(last_CE: NDArray[np.float32], collisions: int) -> NDArray[np.float32]:
    return np.pad(last_CE, ((0, collisions - len(last_CE)), (0, 0)))


def _pair(quotient_QE: NDArray[np.floating], remainder_CE: NDArray[np.floating]) -> Arrays:
    return {"quotient": quotient_QE.astype(np.float32), "remainder": remainder_CE.astype(np.float32)}
