"""State dicts saved as a safetensors file: the same names as a PyTorch checkpoint, memory-mapped."""

from __future__ import annotations

from pathlib import Path

from .checkpoint import strip_wrappers
from .tensor_file import Stored, read


def read_state(path: Path) -> dict[str, Stored]:
    """The tensors of the file by name, without wrapper prefixes.

    Raises:
        FormatError: the file is truncated or damaged.
    """
    return strip_wrappers(read(path))
