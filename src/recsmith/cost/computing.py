"""Seconds of what is computed rather than looked up: MLPs, and rows made of ids (ours).

On a platform whose arithmetic was measured, its parts add up; parameters of several tables, which push each other out
of the inner caches, are read from further out. On others a roofline: arithmetic at the peak of all cores, or parameters
read once a batch from the innermost memory that holds them, whichever takes longer. That is a lower bound; kernels that
start late or idle are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from recsmith.spec import Arithmetic, Dhe, Estimate, Memory, Model, Platform, Serving, Table, UnavailableError, Workload

from . import arithmetic
from .fitted import FittedCost
from .machine import Machine

_ELEMENT_BYTES = 4


class Computing:
    """Prices of computing on one machine.

    Args:
        platform: the machine.

    Raises:
        UnavailableError: it does not say how fast its cores compute.
    """

    def __init__(self, platform: Platform) -> None:
        self._machine = Machine(platform, FittedCost().speeds)
        self._cores = len(platform.cores)
        self._path = self._machine.path(platform.cores[0].id, "global")
        self._flops_per_s = sum(core.flops_per_s for core in platform.cores)
        measured = {name: arithmetic.nearest(platform.arithmetic, name, self._cores) for name in ("fp32", "bf16")}
        self._measured = {name: one for name, one in measured.items() if one is not None}
        if not self._flops_per_s and not self._measured:
            raise UnavailableError(
                "cost",
                f"platform '{platform.name}' does not say how many operations its cores do a second",
                "Give flops_per_s in its profile, or measure it (recsmith measure).",
            )

    def seconds(self, model: Model, ways: Iterable[Serving], workload: Workload) -> Estimate:
        """One batch of `workload`: `mlps`, and `rows <table>` for each table whose rows are computed when asked for."""
        parts = {"mlps": self._mlps(model, workload.batch)}
        by_table = {way.table: way for way in ways}
        for _, table in model.vectors:
            if table.computed is not None:
                way = by_table.get(table.name, Serving(table.name))
                seconds = self.rows(model, way, workload)
                parts |= {f"rows {table.name}": seconds} if way.way != "materialise" else {}
        return Estimate(sum(parts.values()), parts, "fitted" if self._measured else "modelled")

    def rows(self, model: Model, way: Serving, workload: Workload) -> float:
        """Seconds in which the rows of one table that a batch needs and nobody finished are computed.

        Each distinct id of a batch is computed once, hot ones never.
        """
        table = model.table(way.table)
        readers = [f for f in model.features if table.name in (f.table, f.beside)]
        if way.way == "materialise":
            return 0.0
        distinct = 0.0
        for feature in readers:
            access = workload.access(feature.name)
            law = access.ids.popularity(table.rows)
            distinct += law.distinct(workload.batch * access.pooling_factor, way.hot)
        # A DHE reads all its parameters, other representations a few rows of them, which look-ups are priced for.
        nbytes = table.served_bytes if isinstance(table.computed, Dhe) and distinct else 0
        measured = self._measured.get(way.precision)
        if measured is None or way.way == "centroids":
            return self._roofline(distinct * _row_flops(table, way), nbytes)
        if not distinct:
            return 0.0
        together = sum(t.served_bytes for t in model.tables if isinstance(t.computed, Dhe))
        part = 0.5 if way.precision == "bf16" else 1.0
        further = self._read_s(part * nbytes, part * together) - self._read_s(part * nbytes, part * nbytes)
        return arithmetic.seconds(arithmetic.parts_of_rows(table, distinct, self._cores), measured) + further

    def _mlps(self, model: Model, batch: int) -> float:
        parts = [part.widths for part in (model.bottom, model.top) if part is not None]
        measured: Arithmetic | None = self._measured.get("fp32")
        if measured is not None:
            return sum(arithmetic.seconds(arithmetic.parts_of_mlp(w, batch, self._cores), measured) for w in parts)
        weights = sum(wide * out for widths in parts for wide, out in pairwise(widths))
        return self._roofline(2.0 * weights * batch, weights * _ELEMENT_BYTES)

    def _roofline(self, flops: float, nbytes: float) -> float:
        computing_s = flops / self._flops_per_s if self._flops_per_s else 0.0
        return max(computing_s, self._read_s(nbytes, nbytes))

    def _read_s(self, nbytes: float, together: float) -> float:
        """Seconds in which all cores read bytes that lie among so many."""
        memory = self._memory(together)
        return nbytes / self._cores * self._machine.stream_s(memory, "read", self._cores)

    def _memory(self, nbytes: float) -> Memory:
        """The innermost memory that holds so much."""
        return next((each for each in self._path if each.capacity_bytes >= nbytes), self._path[-1])


def _row_flops(table: Table, way: Serving) -> int:
    """Operations of one row; a product with all centroids takes the place of the decoder."""
    if way.way != "centroids" or not isinstance(table.computed, Dhe):
        return table.flops
    decoder = sum(2 * wide * out for wide, out in pairwise(table.computed.widths(table.dim)))
    return table.flops - decoder + 2 * table.computed.k * way.centroids
