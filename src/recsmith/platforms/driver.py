"""NVIDIA's driver, asked directly: what GPUs there are. No framework, no CUDA toolkit."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Protocol

from recsmith.spec import UnavailableError

_LIBRARIES = ("libcuda.so.1", "libcuda.so", "/usr/local/nvidia/lib64/libcuda.so.1", "nvcuda.dll")
# Numbers of CUdevice_attribute in cuda.h.
_ATTRIBUTES = {
    "sms": 16,
    "clock_khz": 13,
    "shared_bytes": 81,
    "shared_bytes_per_block": 97,
    "l2_bytes": 38,
    "memory_clock_khz": 36,
    "bus_bits": 37,
    "major": 75,
    "minor": 76,
    "cluster_launch": 120,
    "persisting_l2_bytes": 108,
    "copy_engines": 40,
}
_PORTABLE_CLUSTER = 8


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU as its driver describes it.

    Attributes:
        clock_hz: the highest clock of the SMs.
        cluster_sms: SMs of a cluster that every kernel may have; 1 where there are no clusters.
        bus_bits: width of the memory bus.
        pcie: link as the system reports it, such as "5.0 x16"; empty when unknown.
    """

    name: str
    compute_capability: str
    sms: int
    clock_hz: float
    shared_bytes: int
    shared_bytes_per_block: int
    l2_bytes: int
    persisting_l2_bytes: int
    memory_bytes: int
    memory_clock_hz: float
    bus_bits: int
    cluster_sms: int
    copy_engines: int
    driver_version: str
    pcie: str = ""


class Driver(Protocol):
    """What knows the GPUs."""

    def device(self, index: int) -> Device:
        """GPU number `index`."""


class CudaDriver:
    """The driver's library, initialised.

    Args:
        library: a loaded libcuda.

    Raises:
        UnavailableError: it finds no GPU.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        self._call("cuInit", 0)
        count = ctypes.c_int()
        self._call("cuDeviceGetCount", ctypes.byref(count))
        self.count = count.value
        if not self.count:
            raise UnavailableError("platform", "the NVIDIA driver finds no GPU", "See nvidia-smi.")

    def device(self, index: int) -> Device:
        """GPU number `index`.

        Raises:
            UnavailableError: there are not so many.
        """
        if not 0 <= index < self.count:
            raise UnavailableError("platform", f"GPU {index} was asked for; there are {self.count}", "Choose another.")
        handle, name, nbytes = ctypes.c_int(), ctypes.create_string_buffer(128), ctypes.c_size_t()
        self._call("cuDeviceGet", ctypes.byref(handle), index)
        self._call("cuDeviceGetName", name, 128, handle)
        self._call("cuDeviceTotalMem_v2", ctypes.byref(nbytes), handle)
        said = {key: self._attribute(number, handle) for key, number in _ATTRIBUTES.items()}
        return Device(
            name=name.value.decode(),
            compute_capability=f"{said['major']}.{said['minor']}",
            sms=said["sms"],
            clock_hz=1e3 * said["clock_khz"],
            shared_bytes=said["shared_bytes"],
            shared_bytes_per_block=said["shared_bytes_per_block"],
            l2_bytes=said["l2_bytes"],
            persisting_l2_bytes=said["persisting_l2_bytes"],
            memory_bytes=nbytes.value,
            memory_clock_hz=1e3 * said["memory_clock_khz"],
            bus_bits=said["bus_bits"],
            cluster_sms=_PORTABLE_CLUSTER if said["cluster_launch"] else 1,
            copy_engines=said["copy_engines"],
            driver_version=self._version(),
            pcie=pcie_link(self._bus_id(handle)),
        )

    def _attribute(self, number: int, handle: ctypes.c_int) -> int:
        value = ctypes.c_int()
        # Attributes that an older driver does not know count as absent.
        failed = self._library.cuDeviceGetAttribute(ctypes.byref(value), number, handle)
        return 0 if failed else value.value

    def _version(self) -> str:
        value = ctypes.c_int()
        self._call("cuDriverGetVersion", ctypes.byref(value))
        return f"CUDA {value.value // 1000}.{value.value % 1000 // 10}"

    def _bus_id(self, handle: ctypes.c_int) -> str:
        text = ctypes.create_string_buffer(32)
        self._call("cuDeviceGetPCIBusId", text, 32, handle)
        return text.value.decode().lower()

    def _call(self, function: str, *arguments: Any) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            raise UnavailableError(
                "platform", f"the NVIDIA driver answers {function} with error {code}", "See nvidia-smi."
            )


def open_driver() -> CudaDriver:
    """The driver of this machine.

    Raises:
        UnavailableError: there is none, or it finds no GPU.
    """
    for name in _LIBRARIES:
        try:
            return CudaDriver(ctypes.CDLL(name))
        except OSError:
            continue
    raise UnavailableError(
        "platform",
        "no NVIDIA driver (libcuda) is installed here",
        "Plan for a GPU that is elsewhere by its figures (--platform h200, h100, a100) or by a saved profile.",
    )


def pcie_link(bus_id: str, root: str = "/sys/bus/pci/devices") -> str:
    """Speed and width of the link of the card at `bus_id`, such as "32.0 GT/s PCIe x16"; empty when unknown."""
    from pathlib import Path

    folder = Path(root) / bus_id
    try:
        speed = (folder / "max_link_speed").read_text().strip()
        width = (folder / "max_link_width").read_text().strip()
    except OSError:
        return ""
    return f"{speed} x{width}"
