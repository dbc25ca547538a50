"""NVIDIA GPUs: the one that is here, by its driver, or one that is only known by its figures."""

from __future__ import annotations

from msgspec.structs import replace

from recsmith.spec import Platform

from .cgroup import read_limits
from .chip import Chip, Figure, chip, modelled, names
from .driver import Device, Driver, open_driver
from .ram import ram_bytes
from .system import System


def h200() -> Platform:
    """A modelled H200."""
    return modelled(chip("h200"))


def h100() -> Platform:
    """A modelled H100 (SXM)."""
    return modelled(chip("h100"))


def a100() -> Platform:
    """A modelled A100 (SXM, 80 GB)."""
    return modelled(chip("a100"))


def probe(driver: Driver | None = None, device: int = 0) -> Platform:
    """The GPU that is here: sizes and clocks as its driver reports them, speeds as for the chip known that is nearest.

    Args:
        driver: opened when None.
        device: by the driver's numbering.

    Raises:
        UnavailableError: there is no driver or no GPU.
    """
    found = (driver or open_driver()).device(device)
    near = nearest(found)
    platform = modelled(seen(found, near, host_bytes()))
    known = "figures of its own kind" if found.name == near.title else f"figures of '{near.title}', the nearest known"
    return replace(
        platform,
        name="cuda",
        source="probed",
        notes=(
            f"Sizes and clocks by the driver ({found.driver_version}); speeds are modelled from {known}: "
            "`recsmith measure --platform cuda` replaces them.",
            f"PCI Express {found.pcie or 'unknown'}.",
        ),
    )


def nearest(device: Device) -> Chip:
    """The chip whose figures stand for `device`: its own, or the one of the nearest generation and size."""
    known = [chip(name) for name in names()]

    def distance(other: Chip) -> tuple[bool, float, float]:
        major = float(other.compute_capability)
        return (
            other.title != device.name,
            abs(major - float(device.compute_capability)),
            abs(other["hbm_bytes"] - device.memory_bytes),
        )

    return min(known, key=distance)


def host_bytes() -> int:
    """Main memory of the machine that the GPU is in."""
    system = System()
    return sum(ram_bytes(system, (0,), read_limits(system)).values())


def seen(device: Device, near: Chip, host: int) -> Chip:
    """`near` with what the driver says of `device`, and `host` bytes, in its place; chip-wide rates in proportion."""
    said = {
        "host_bytes": float(host),
        "sms": float(device.sms),
        "clock_hz": device.clock_hz,
        "shared_bytes": float(device.shared_bytes),
        "shared_bytes_per_block": float(device.shared_bytes_per_block),
        "hbm_bytes": float(device.memory_bytes),
        "cluster_sms": float(device.cluster_sms),
    }
    # What one process finds of an L2 is less than what is reported; the share is that of the chip that was measured.
    same = device.name == near.title
    if not same:
        memory = device.memory_clock_hz * device.bus_bits / 4
        said |= {
            "l2_bytes": 0.8 * device.l2_bytes,
            "hbm_bytes_per_s": 0.81 * memory or near["hbm_bytes_per_s"],
            "hbm_write_bytes_per_s": 0.81 * memory or near["hbm_write_bytes_per_s"],
            "l2_bytes_per_s": near["l2_bytes_per_s"] * device.sms * device.clock_hz / (near.sms * near["clock_hz"]),
            "l1_bytes": float(device.shared_bytes) + near["l1_bytes"] - near["shared_bytes"],
        }
    figures = near.figures | {name: Figure(value, "driver") for name, value in said.items() if value > 0}
    return Chip("cuda", device.name, device.compute_capability, figures)
