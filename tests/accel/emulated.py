"""A GPU made of CPU threads: the very same kernels and driver calls, for machines without one.

`device()` is a `Device` whose driver runs kernels in the emulator of csrc/tests/cuda.
"""

import ctypes
import functools
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar

import pytest

from recsmith.kernels.cuda.compiler import cache_folder
from recsmith.kernels.cuda.device import Device, Function
from recsmith.kernels.cuda.driver import Driver
from recsmith.kernels.cuda.program import Program

FOLDER = Path(__file__).resolve().parents[2] / "csrc" / "tests" / "cuda"
# Little optimisation: a kernel runs for less time than it takes to compile.
OPTIONS = ("-std=c++17", "-O1", "-w", "-fPIC", "-shared", "-fno-strict-aliasing", "-U_FORTIFY_SOURCE")


def build(text: str, name: str) -> Path:
    """A shared library of C++ text, kept by its content."""
    headers = "".join(path.read_text() for path in sorted(FOLDER.iterdir()))
    digest = hashlib.sha256((text + headers + " ".join(OPTIONS)).encode()).hexdigest()[:32]
    library = cache_folder().parent / "emulated" / f"{name}-{digest}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "library.so"
            command = ["g++", *OPTIONS, f"-I{FOLDER}", "-x", "c++", "-", "-o", str(made)]
            run = subprocess.run(command, input=text, text=True, capture_output=True)
            assert run.returncode == 0, f"{name}: {run.stderr[:4000]}"
            shutil.move(made, library)
    return library


class Emulator:
    """Compiles kernels for the emulator; their "machine code" is the path of a library."""

    name = "emulator"

    def compile(self, program: Program, architecture: str) -> bytes:
        text = '#define RECSMITH_EMULATED 1\n#include "emulator.hpp"\n' + program.text()
        return str(build(text, program.entry)).encode()


class EmulatedDevice(Device):
    """Knows kernels by their text, which tests change."""

    def function(self, program: Program) -> Function:
        text = program.text()
        if text not in self._loaded:
            self._loaded[text] = Function(self._driver, Emulator().compile(program, self.architecture), program.entry)
        return self._loaded[text]

    _loaded: ClassVar[dict[str, Function]] = {}


@functools.cache
def library() -> Path:
    return build((FOLDER / "driver.cpp").read_text(), "driver")


@functools.cache
def _device() -> Device:
    return EmulatedDevice(compiler=Emulator(), library=Driver(str(library())))


def device() -> Device:
    """The emulated device, as good as new even after a kernel failed; skips the test where there is no compiler."""
    if shutil.which("g++") is None:
        pytest.skip("the emulator is built with g++, which is not installed")
    ctypes.CDLL(str(library())).recsmith_forget()
    return _device()
