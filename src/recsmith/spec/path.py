"""What a scheduler chooses from: ways to answer a query, each with its quality and its latency by query size."""

from __future__ import annotations

from typing import Literal

from .record import Record

Way = Literal["small", "fast"]


class Latency(Record, frozen=True):
    """Seconds from call to return for queries of one size.

    Attributes:
        query: samples asked for at once.
        seconds: median where it was measured.
        q1_s, q3_s: quartiles where it was measured, else `seconds`.
    """

    query: int
    seconds: float
    q1_s: float
    q3_s: float
    source: Literal["measured", "modelled"]


class Path(Record, frozen=True):
    """A representation on a platform, served by a plan. Source: [MPREC] B4.

    Attributes:
        representation: the candidate's name.
        platform: the platform's name.
        way: how rows that are not stored are served: `small`, in as few bytes as can be; `fast`, finished beforehand,
            all or those of hot ids, as far as the platform's memory reaches.
        nbytes: of embeddings and dense parts as they are served.
        accuracy, auc, logloss: on samples held back.
        latencies: by query size, smallest first.
        model, plan: its artifact and its plan, relative to the exploration's folder.
    """

    representation: str
    platform: str
    way: Way
    nbytes: int
    accuracy: float
    auc: float
    logloss: float
    latencies: tuple[Latency, ...]
    model: str
    plan: str

    @property
    def name(self) -> str:
        """The path in a few words: "dhe:varied on cpu, fast"."""
        return f"{self.representation} on {self.platform}" + (", fast" if self.way == "fast" else "")
