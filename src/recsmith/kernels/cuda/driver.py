"""NVIDIA's driver library by ctypes: the calls that recsmith makes, each checked."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any

from recsmith.spec import CapacityError, RecsmithError, UnavailableError

_REMEDY = "Install NVIDIA's driver on a machine with one of its GPUs, or plan for 'cuda' from a saved profile."
_OUT_OF_MEMORY = 2
_NO_DEVICE = 100
ACCESS_WINDOW = 1
CLUSTER_DIMENSION = 4
PERSISTING = 2
"""The access property of lines that are let go of last."""
L2_KEPT_LIMIT = 6

ATTRIBUTES = {
    "clock_khz": 13,
    "multiprocessors": 16,
    "pci_bus": 33,
    "pci_device": 34,
    "memory_clock_khz": 36,
    "memory_bus_bits": 37,
    "l2_bytes": 38,
    "threads_per_multiprocessor": 39,
    "copy_engines": 40,
    "major": 75,
    "minor": 76,
    "shared_bytes_per_multiprocessor": 81,
    "registers_per_multiprocessor": 82,
    "shared_bytes_per_block": 97,
    "blocks_per_multiprocessor": 106,
    "persisting_l2_bytes": 108,
    "window_bytes": 109,
    "reserved_shared_bytes": 111,
    "clusters": 120,
}
"""Device attributes by our names: their numbers in the driver's interface."""

FUNCTION_ATTRIBUTES = {"shared_bytes": 1, "local_bytes": 3, "registers": 4}
MAX_SHARED = 8
ANY_CLUSTER = 14


class DriverError(RecsmithError, RuntimeError):
    """A call into the driver failed."""

    exit_code = 8


class LaunchAttribute(ctypes.Structure):
    """CUlaunchAttribute with its 64-byte value."""

    _fields_ = [("id", ctypes.c_uint), ("pad", ctypes.c_uint), ("value", ctypes.c_uint * 16)]


class LaunchConfig(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(LaunchAttribute)),
        ("attribute_count", ctypes.c_uint),
    ]


class Driver:
    """The driver library; `call` runs one of its functions and raises when it fails.

    Args:
        path: the library; normally the system's libcuda.
    """

    def __init__(self, path: str) -> None:
        try:
            self._library = ctypes.CDLL(path)
        except OSError as error:
            raise UnavailableError("cuda", f"NVIDIA's driver could not be loaded ({error})", _REMEDY) from error
        self.call("cuInit", 0)

    def call(self, name: str, *arguments: Any) -> None:
        """Run the function `name`.

        Raises:
            UnavailableError: there is no device, or the driver is too old to have the function.
            CapacityError: the device's memory is full.
            DriverError: anything else; carries the driver's reason.
        """
        try:
            function = getattr(self._library, name)
        except AttributeError as error:
            raise UnavailableError("cuda", f"this driver has no {name}", "Update NVIDIA's driver.") from error
        code = function(*arguments)
        if code != 0:
            self._fail(name, code)

    def _fail(self, name: str, code: int) -> None:
        reason = self._reason(code)
        if code == _NO_DEVICE:
            raise UnavailableError("cuda", f"the driver finds no GPU ({reason})", _REMEDY)
        if code == _OUT_OF_MEMORY:
            remedy = "Use rows of fewer bits, or let the plan keep cold rows in host memory."
            raise CapacityError("cuda", f"{name}: the GPU's memory is full ({reason})", remedy)
        # Errors of a kernel show up at whichever call comes next.
        raise DriverError("cuda", f"{name} failed with {code}: {reason}", "If a kernel ran before, it may be at fault.")

    def _reason(self, code: int) -> str:
        text = ctypes.c_char_p()
        found = self._library.cuGetErrorString(code, ctypes.byref(text))
        return text.value.decode() if found == 0 and text.value else "unknown"


@cache
def driver() -> Driver:
    """The system's driver, or the one that `RECSMITH_CUDA_DRIVER` names.

    Raises:
        UnavailableError: there is none, or no GPU.
    """
    return Driver(os.environ.get("RECSMITH_CUDA_DRIVER", "libcuda.so.1"))
