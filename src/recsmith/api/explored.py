"""What is explored, and what was found: the records of `explore`."""

from __future__ import annotations

from recsmith.spec import Path, Record
from recsmith.training.metrics import Quality

from .candidates import Candidate

ASKED_FILE = "asked.json"


class Asked(Record, frozen=True):
    """What is explored; a folder holds one exploration, and only the same one is resumed.

    Attributes:
        original: digest of the model trained with plain tables.
        candidates: name to digest of the model held so, `converted` before it if it is not trained.
        platforms: name to digest, or to its machine where it was only probed.
        rooms: platform to bytes for embeddings and MLPs.
        steps: updates of each DHE that is distilled.
    """

    data: str
    original: str
    candidates: dict[str, str]
    platforms: dict[str, str]
    rooms: dict[str, int]
    queries: tuple[int, ...]
    planner: str
    steps: int


class LeftOut(Record, frozen=True):
    """What there is no path for, and why.

    Attributes:
        platform: empty for all of them.
    """

    representation: str
    platform: str
    reason: str


class Explored(Record, frozen=True):
    """What exploration found.

    Attributes:
        original: quality of the model as it was.
        paths: all that fit.
        kept: names of those that no other on the same platform beats: the Pareto set.
        finished: whether all candidates are trained; if not, run again to go on.
    """

    folder: str
    data: str
    rooms: dict[str, int]
    queries: tuple[int, ...]
    original: Quality
    candidates: tuple[Candidate, ...]
    paths: tuple[Path, ...]
    kept: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    finished: bool
