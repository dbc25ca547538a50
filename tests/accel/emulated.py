"""A GPU made of CPU threads: the very same kernels and driver calls, for machines without one.

`device()` is a `Device` whose driver runs kernels in the emulator of csrc/tests/cuda.
"""

import ctypes
import functools
import hashlib
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import ClassVar

import pytest

from recsmith.kernels.cuda.compiler import cache_folder
from recsmith.kernels.cuda.device import Device, Function
from recsmith.kernels.cuda.driver import Driver
from recsmith.kernels.cuda.program import Program

FOLDER = Path(__file__).resolve().parents[2] / "csrc" / "tests" / "cuda"
# Little optimisation: a kernel runs for less time than it takes to compile.
OPTIONS = ("-std=c++17", "-O1", "-w", "-fPIC", "-fno-strict-aliasing", "-U_FORTIFY_SOURCE", "-DRECSMITH_EMULATED=1")
HEADERS = ("emulator.hpp", "fibers.hpp")


def build(text: str, name: str, *, kernel: bool = False) -> Path:
    """A shared library of C++ text, kept by its content; kernels stand behind the emulator's header."""
    headers = "".join((FOLDER / name).read_text() for name in HEADERS)
    digest = hashlib.sha256((text + headers + " ".join(OPTIONS)).encode()).hexdigest()[:32]
    library = _folder() / f"{name}-{digest}.so"
    if not library.exists():
        before = ["-I", str(_precompiled(headers)), "-include", HEADERS[0]] if kernel else []
        _compile(["-shared", *before, "-x", "c++", "-"], library, text)
    return library


@functools.cache
def _precompiled(headers: str) -> Path:
    """A folder with the emulator's header as the compiler likes it best: reading it takes longer than most kernels."""
    folder = _folder() / hashlib.sha256((headers + " ".join(OPTIONS)).encode()).hexdigest()[:32]
    if not folder.exists():
        folder.mkdir(parents=True)
        _compile(["-x", "c++-header", str(FOLDER / HEADERS[0])], folder / f"{HEADERS[0]}.gch", "")
    return folder


def _folder() -> Path:
    return cache_folder().parent / "emulated"


def _compile(arguments: list[str], made: Path, text: str) -> None:
    """Runs the compiler, `text` on its standard input; what it makes appears at once or not at all."""
    made.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder) / made.name
        command = ["g++", *OPTIONS, *arguments, f"-I{FOLDER}", "-o", str(beside)]
        run = subprocess.run(command, input=text, text=True, capture_output=True)
        assert run.returncode == 0, f"{made.name}: {run.stderr[:4000]}"
        shutil.move(beside, made)


class Emulator:
    """Compiles kernels for the emulator; their "machine code" is the path of a library."""

    name = "emulator"

    def compile(self, program: Program, architecture: str) -> bytes:
        return str(build(program.text(), program.entry, kernel=True)).encode()


class OneAtATime(Driver):
    """The emulator runs on one thread."""

    _lock = threading.RLock()

    def call(self, name, *arguments):
        with self._lock:
            super().call(name, *arguments)


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
    return EmulatedDevice(compiler=Emulator(), library=OneAtATime(str(library())))


def device() -> Device:
    """The emulated device, as good as new even after a kernel failed; skips the test where there is no compiler."""
    if shutil.which("g++") is None:
        pytest.skip("the emulator is built with g++, which is not installed")
    ctypes.CDLL(str(library())).recsmith_forget()
    return _device()
