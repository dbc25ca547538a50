"""Programs to machine code, kept in a folder under (source, architecture, constants, compiler)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Literal, Protocol

from recsmith.spec import UnavailableError

from . import nvrtc
from .program import Program

_OPTIONS = ("-std=c++17", "-lineinfo")


class Compiler(Protocol):
    """Makes machine code of source text."""

    @property
    def name(self) -> str:
        """Part of the name under which machine code is kept: compiler and version."""

    def compile(self, program: Program, architecture: str) -> bytes:
        """The machine code of `program` for `architecture` ("sm_90")."""


class Nvrtc:
    """NVRTC; needs only its library."""

    def __init__(self) -> None:
        self.name = "nvrtc{}.{}".format(*nvrtc.version())

    def compile(self, program: Program, architecture: str) -> bytes:
        """The machine code of `program`. Raises what `nvrtc.machine_code` raises."""
        options = (f"-arch={architecture}", *_OPTIONS)
        return nvrtc.machine_code(program.text(), f"{program.source}:{program.entry}", options)


class Nvcc:
    """The compiler of a CUDA toolkit.

    Raises:
        UnavailableError: nvcc is not on the PATH.
    """

    def __init__(self) -> None:
        found = shutil.which("nvcc")
        if found is None:
            raise UnavailableError("kernels", "nvcc is not on the PATH", "Install a CUDA toolkit, or use NVRTC.")
        self._path = found
        self.name = "nvcc"

    def compile(self, program: Program, architecture: str) -> bytes:
        """The machine code of `program`.

        Raises:
            CompileError: nvcc refused it; carries its log.
        """
        with tempfile.TemporaryDirectory() as folder:
            source, out = Path(folder) / "kernel.cu", Path(folder) / "kernel.cubin"
            source.write_text(program.text(), encoding="utf-8")
            command = [self._path, "--cubin", f"-arch={architecture}", *_OPTIONS, "-o", str(out), str(source)]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode != 0:
                raise nvrtc.CompileError("kernels", f"nvcc refused {program.source} ({architecture}):\n{run.stderr}")
            return out.read_bytes()


def choose_compiler(name: Literal["auto", "nvrtc", "nvcc"] = "auto") -> Compiler:
    """The compiler called `name`; "auto" takes NVRTC, or nvcc where there is no NVRTC.

    Raises:
        UnavailableError: it is not there.
    """
    if name == "nvcc" or (name == "auto" and not nvrtc.available() and shutil.which("nvcc")):
        return Nvcc()
    return Nvrtc()


def cache_folder() -> Path:
    """Where machine code is kept: `RECSMITH_CACHE`, else recsmith's folder in the user's cache."""
    forced = os.environ.get("RECSMITH_CACHE")
    if forced:
        return Path(forced) / "cuda"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "recsmith" / "cuda"


def machine_code(program: Program, architecture: str, compiler: Compiler | None = None) -> bytes:
    """The machine code of `program`, compiled at the first call and read from the cache afterwards.

    Args:
        architecture: "sm_90"; a program with what only that very architecture has is compiled for "sm_90a".

    Raises:
        UnavailableError: there is no compiler.
        CompileError: the compiler refused the source; carries its log.
    """
    chosen = compiler or choose_compiler()
    architecture += "a" if program.own else ""
    kept = cache_folder() / f"{program.entry}-{architecture}-{chosen.name}-{program.digest(architecture)}.cubin"
    if kept.exists():
        return kept.read_bytes()
    code = chosen.compile(program, architecture)
    _keep(kept, code)
    return code


def _keep(path: Path, code: bytes) -> None:
    """Written beside and renamed, so that others never read half of it; a cache that cannot be written is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(code)
        os.replace(file.name, path)
    except OSError:
        return
