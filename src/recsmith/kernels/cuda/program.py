"""What is launched: kernels in source text with their constants, and the launches of one."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from recsmith.spec import UnavailableError

_INCLUDE = re.compile(r'^#include "([\w.]+)"\s*$', re.M)


@dataclass(frozen=True, slots=True)
class Program:
    """A kernel in source text, specialised by constants.

    Attributes:
        source: a file of the package's device sources ("lookup.cu").
        entry: the kernel in it; it takes one struct by value.
        constants: macros that are defined before the source; they decide what code there is, so that every program is
            compiled once for an architecture.
        own: uses what only the very architecture has that it is compiled for (Hopper's products of warp groups).
    """

    source: str
    entry: str
    constants: tuple[tuple[str, str], ...] = ()
    own: bool = False

    def text(self) -> str:
        """The whole source: constants, then the file with its includes put in place."""
        defined = "".join(f"#define {name} {value}\n" for name, value in self.constants)
        return defined + _resolved(self.source)

    def digest(self, architecture: str) -> str:
        """Hexadecimal name of the machine code for `architecture`; changes with source and constants."""
        key = f"{architecture}\n{self.entry}\n{self.text()}"
        return hashlib.sha256(key.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Window:
    """Bytes of the GPU's memory whose lines the L2 lets go of last, as far as it keeps room aside for such."""

    address: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of a program; plain data, so that it can be recorded, repeated and run by an emulator.

    Attributes:
        grid: blocks.
        block: threads a block.
        shared_bytes: dynamic shared memory a block.
        arguments: the kernel's one argument, as its bytes. Addresses in it must stay valid until the launch has run.
        cluster: blocks a cluster.
        window: what it wants to find in the L2; see `Device.keep_l2`.
    """

    program: Program
    grid: int
    block: int
    arguments: bytes
    shared_bytes: int = 0
    cluster: int = 1
    window: Window | None = None


def source_folder() -> Path:
    """Where the device sources are: beside this module when installed, `csrc/cuda` in a checkout.

    Raises:
        UnavailableError: neither is there.
    """
    here = Path(__file__).resolve()
    candidates = (here.parent / "source", *(parent / "csrc" / "cuda" for parent in here.parents[3:5]))
    for folder in candidates:
        if (folder / "lookup.cu").exists():
            return folder
    raise UnavailableError(
        "kernels", f"the CUDA sources are neither in {candidates[0]} nor in a checkout", "Install recsmith again."
    )


def _resolved(name: str) -> str:
    return _with_includes(name, set())


def _with_includes(name: str, seen: set[str]) -> str:
    if name in seen:
        return ""
    seen.add(name)
    return _INCLUDE.sub(lambda found: _with_includes(found.group(1), seen), _read(name).replace("#pragma once\n", ""))


@cache
def _read(name: str) -> str:
    return (source_folder() / name).read_text(encoding="utf-8")
