"""A module's id tensors as one Jagged: a handful of operations whatever the number of features.

F features, B samples, L ids in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recsmith.importers.lookups import Form, Lookup
from recsmith.spec import InputError, Jagged

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Source:
    """Where one feature's ids, offsets and weights stand in a list of tensors; see `importers.lookups.Lookup`."""

    feature: str
    form: Form
    ids: int
    offsets: int | None
    weights: int | None
    ends: bool


def sources(lookups: Sequence[Lookup]) -> tuple[Source, ...]:
    """Positions in the order in which `importers.split.ids_part` yields them."""
    found, at = [], 0
    for lookup in lookups:
        positions: list[int | None] = []
        for node in (lookup.ids, lookup.offsets, lookup.weights):
            positions.append(None if node is None else at)
            at += node is not None
        ids, offsets, weights = positions
        assert ids is not None
        found.append(Source(lookup.feature.name, lookup.form, ids, offsets, weights, lookup.ends))
    return tuple(found)


def assemble(sources: Sequence[Source], tensors: Sequence[Tensor]) -> Jagged:
    """The ids of all features.

    Raises:
        InputError: features differ in their number of bags, ids are not integers, or offsets do not begin at 0.
    """
    import torch

    batch = _batch(sources, tensors)
    ids = [tensors[source.ids] for source in sources]
    ids = [each if each.dim() == 1 else each.reshape(-1) for each in ids]
    cut = [at for at, source in enumerate(sources) if source.ends]
    for at in cut:
        ids[at] = ids[at][: _end(sources[at], tensors, len(ids[at]))]
    lengths = [each.shape[0] for each in ids]
    values = ids[0] if len(ids) == 1 else torch.cat(ids)
    if values.dtype not in (torch.int64, torch.int32):
        raise InputError("lookup", f"ids are {values.dtype}", "Pass int64 or int32.")
    offsets = None
    if any(source.form != "fixed" or length != batch for source, length in zip(sources, lengths, strict=True)):
        parts = [_starts(source, tensors, batch, n) for source, n in zip(sources, lengths, strict=True)]
        offsets = _offsets(sources, parts, lengths, batch, narrow=values.dtype == torch.int32)
    return Jagged(values.numpy(), offsets, batch, _weights(sources, tensors, lengths))


def _batch(sources: Sequence[Source], tensors: Sequence[Tensor]) -> int:
    found: int | None = None
    for source in sources:
        if source.form == "rows":
            continue
        at = source.ids if source.offsets is None else source.offsets
        bags = tensors[at].shape[0] - source.ends
        if found is None:
            found = bags
        elif bags != found:
            raise InputError(
                "lookup",
                f"feature '{source.feature}' has {bags} bags, '{sources[0].feature}' has {found}",
                "Give every feature one bag for each sample.",
            )
    if found is not None:
        return found
    first = tensors[sources[0].ids]
    return first.shape[0] if first.dim() else 1


def _end(source: Source, tensors: Sequence[Tensor], length: int) -> int:
    assert source.offsets is not None
    end = int(tensors[source.offsets][-1])
    if not 0 <= end <= length:
        raise InputError(
            "lookup", f"the offsets of '{source.feature}' end at {end} of {length} ids", "Check the offsets."
        )
    return end


def _starts(source: Source, tensors: Sequence[Tensor], batch: int, length: int) -> Tensor:
    """[B]: where each of the feature's bags starts among its own ids."""
    if source.offsets is not None:
        offsets = tensors[source.offsets]
        return offsets[:-1] if source.ends else offsets
    shape = tensors[source.ids].shape
    regular = len(shape) > 0 and shape[0] == batch and batch > 0
    return _regular(batch, length // batch) if regular else _first_bag(batch, length)


@lru_cache(maxsize=256)
def _regular(batch: int, step: int) -> Tensor:
    import torch

    return torch.arange(batch, dtype=torch.int64) * step


def _first_bag(batch: int, length: int) -> Tensor:
    """All ids in one bag: they yield a vector each, so the bags do not matter."""
    import torch

    starts = torch.full((batch,), length, dtype=torch.int64)
    starts[:1] = 0
    return starts


def _offsets(
    sources: Sequence[Source], parts: list[Tensor], lengths: list[int], batch: int, *, narrow: bool
) -> NDArray[np.int64] | NDArray[np.int32]:
    import torch

    offsets: NDArray[Any] = np.empty(len(parts) * batch + 1, dtype=np.int32 if narrow else np.int64)
    starts_FB = offsets[:-1].reshape(len(parts), batch)
    if parts[0].dtype not in (torch.int64, torch.int32):
        raise InputError("lookup", f"offsets are {parts[0].dtype}", "Pass int64 or int32.")
    torch.cat(parts, out=torch.from_numpy(offsets[:-1]))
    if batch and starts_FB[:, 0].any():
        at = int(np.flatnonzero(starts_FB[:, 0])[0])
        raise InputError(
            "lookup", f"the offsets of '{sources[at].feature}' begin at {starts_FB[at, 0]}", "They must begin at 0."
        )
    ends = list(accumulate(lengths))
    starts_FB[1:] += np.array(ends[:-1], dtype=offsets.dtype)[:, None]
    offsets[-1] = ends[-1]
    return offsets


def _weights(sources: Sequence[Source], tensors: Sequence[Tensor], lengths: list[int]) -> NDArray[np.float32] | None:
    import torch

    if all(source.weights is None for source in sources):
        return None
    parts = [
        torch.ones(length) if source.weights is None else tensors[source.weights].reshape(-1)[:length]
        for source, length in zip(sources, lengths, strict=True)
    ]
    return torch.cat(parts).to(torch.float32).numpy()
