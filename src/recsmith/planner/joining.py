"""What a dot interaction or a sum does, fused with the look-up or after it (ours)."""

from __future__ import annotations

from collections.abc import Mapping

from recsmith.spec import Model, Problem, Stream, Work

_ELEMENT_BYTES = 4


class Joining:
    """A model's pairwise products or sums. Concatenation needs no work: vectors are written where they belong.

    Attributes:
        present: whether there is anything to multiply or to add up.
    """

    def __init__(self, problem: Problem) -> None:
        model = problem.model
        self.present = _meet(model) and len(problem.gathers) == len(problem.ops)
        self._dim = model.bottom.widths[-1] if model.bottom is not None else 0
        vectors = len(model.pooled) + 1
        extra = 1 if model.interaction is not None and model.interaction.self_terms else -1
        self._multiplies = model.interaction is not None and model.interaction.kind == "dot"
        self._vectors, self._pairs = vectors, vectors * (vectors + extra) // 2
        self._works: dict[tuple[float, int], Work] = {}

    def works(self, samples: Mapping[str, float], written: int) -> dict[str, Work]:
        """Core id to its products of `samples` samples, `written` vectors of each read from where they were written.

        The same object for the same question.
        """
        found = {}
        for core, count in samples.items():
            key = (count, written)
            if key not in self._works:
                self._works[key] = self._work(count, written)
            found[core] = self._works[key]
        return found

    def _work(self, samples: float, written: int) -> Work:
        read_bytes = _ELEMENT_BYTES * samples * written * self._dim
        streams = (Stream("global", read_bytes, "vectors"),) if written else ()
        if not self._multiplies:
            return Work(
                streams=streams,
                written_bytes=_ELEMENT_BYTES * samples * self._dim,
                flops=samples * self._vectors * self._dim,
            )
        return Work(
            streams=streams,
            written_bytes=_ELEMENT_BYTES * samples * (self._dim + self._pairs),
            products=samples * self._pairs * self._dim,
        )


def _meet(model: Model) -> bool:
    """Whether `model` multiplies its vectors with each other and the bottom MLP's output, or adds them up."""
    return (
        model.interaction is not None
        and model.interaction.kind != "cat"
        and model.bottom is not None
        and all(feature.pooling != "none" for feature in model.features)
    )
