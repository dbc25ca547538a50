"""Where results go, and how far a run is."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from recsmith.platforms import load


def results(question: str) -> Path:
    """The results file of `question` for this machine."""
    machine = re.sub(r"[^A-Za-z0-9]+", "-", load("cpu").machine).strip("-").lower()
    return Path(__file__).parent / "results" / machine / f"{question}.jsonl"


def say(step: str, done: int, total: int) -> None:
    """One line on stderr that grows."""
    print(f"\r{step} {done:,}/{total:,}    ", end="\n" if done >= total else "", file=sys.stderr, flush=True)
