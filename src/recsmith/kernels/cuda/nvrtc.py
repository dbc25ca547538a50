"""NVRTC, NVIDIA's run-time compiler, by ctypes: source text in, machine code out. Needs no GPU and no CUDA headers."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from recsmith.spec import RecsmithError, UnavailableError

_NAMES = ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so")
_REMEDY = "pip install nvidia-cuda-nvrtc, or set CUDA_HOME to a CUDA toolkit, or RECSMITH_NVRTC to the library itself."


class CompileError(RecsmithError, RuntimeError):
    """The compiler refused a kernel; the message ends in its log."""

    exit_code = 8


def available() -> bool:
    """Whether NVRTC can be loaded."""
    try:
        _library()
    except UnavailableError:
        return False
    return True


def version() -> tuple[int, int]:
    """NVRTC's version, (13, 0) say."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def machine_code(text: str, name: str, options: Sequence[str]) -> bytes:
    """The machine code (cubin) of a source text.

    Args:
        name: stands for the source in messages.
        options: NVRTC's, "-arch=sm_90" among them.

    Raises:
        UnavailableError: there is no NVRTC.
        CompileError: it refused the source; carries its log.
    """
    library, program = _library(), ctypes.c_void_p()
    _check(library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), name.encode(), 0, None, None), name)
    try:
        array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        if library.nvrtcCompileProgram(program, len(options), array) != 0:
            log = _fetched(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog").rstrip(b"\0").decode()
            raise CompileError("kernels", f"NVRTC refused {name} ({' '.join(options)}):\n{log}")
        return _fetched(program, "nvrtcGetCUBINSize", "nvrtcGetCUBIN")
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _fetched(program: ctypes.c_void_p, size_of: str, fetch: str) -> bytes:
    size = ctypes.c_size_t()
    _check(getattr(_library(), size_of)(program, ctypes.byref(size)), size_of)
    room = ctypes.create_string_buffer(size.value)
    _check(getattr(_library(), fetch)(program, room), fetch)
    return room.raw


def _check(code: int, what: str) -> None:
    if code != 0:
        library = _library()
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        reason = library.nvrtcGetErrorString(code).decode()
        raise CompileError("kernels", f"NVRTC failed on {what}: {reason}", "Check that NVRTC knows the architecture.")


@cache
def _library() -> ctypes.CDLL:
    tried = []
    for candidate in _candidates():
        try:
            return ctypes.CDLL(candidate)
        except OSError as error:
            tried.append(f"{candidate} ({error})")
    raise UnavailableError("kernels", f"NVRTC was not found; tried {'; '.join(tried)}", _REMEDY)


def _candidates() -> Iterator[str]:
    """A library named outright is the only candidate: a forced choice never falls back."""
    forced = os.environ.get("RECSMITH_NVRTC")
    if forced:
        yield forced
        return
    for folder in _folders():
        yield from (str(folder / name) for name in _NAMES if (folder / name).exists())
    yield from _NAMES


def _folders() -> Iterator[Path]:
    package = find_spec("nvidia")
    for root in package.submodule_search_locations or () if package else ():
        yield from (Path(root) / part / "lib" for part in ("cu13", "cuda_nvrtc"))
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if variable in os.environ:
            yield from (Path(os.environ[variable]) / part for part in ("lib64", "lib"))
    yield Path("/usr/local/cuda/lib64")
