"""Where codes lie between encoder and decoder: one place a thread, so that each table finds it in the cache.

U ids, K hashes.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .linear import import_torch

if TYPE_CHECKING:
    from torch import Tensor

_OWN = threading.local()


def room(rows: int, k: int, dtype: str) -> tuple[Tensor, NDArray[Any]]:
    """[U, K] of `dtype`, as torch names it, and the same for writing: float32, or bits of bfloat16 as uint16.

    Holds what the thread wrote to it last, which are codes or zeros: rows beyond a batch's ids are decoded too, and
    left-over bits of anything else might be slow numbers. Valid until the thread asks again.
    """
    torch = import_torch()
    kept: dict[str, tuple[Tensor, NDArray[Any]]] = _OWN.__dict__.setdefault("kept", {})
    if dtype not in kept or len(kept[dtype][0]) < rows * k:
        flat = torch.zeros(rows * k, dtype=getattr(torch, dtype))
        kept[dtype] = (flat, (flat if dtype == "float32" else flat.view(torch.uint16)).numpy())
    codes, written = kept[dtype]
    return codes[: rows * k].view(rows, k), written[: rows * k].reshape(rows, k)
