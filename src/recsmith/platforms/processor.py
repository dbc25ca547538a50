"""The processor's name and instruction sets."""

from __future__ import annotations

import re

from .system import System

# Slowest first, as the native targets are. A target needs all of its flags (csrc/isa).
_X86 = {
    "avx2": {"avx2", "fma", "f16c"},
    "avx512": {"avx512f", "avx512bw", "avx512vl", "avx512dq", "bmi2"},
}
_ARM = {"neon": {"asimd"}}
_ARM_MAKERS = {
    "0x41": "Arm",
    "0x43": "Cavium",
    "0x48": "HiSilicon",
    "0x51": "Qualcomm",
    "0x61": "Apple",
    "0xc0": "Ampere",
}


def isas(system: System) -> tuple[str, ...]:
    """Instruction sets that the processor has of those we compile for, slowest first; `scalar` always."""
    fields = system.fields("proc/cpuinfo")
    have = set((fields.get("flags") or fields.get("Features") or "").split())
    known = _X86 if "flags" in fields else _ARM
    return ("scalar", *(name for name, wanted in known.items() if wanted <= have))


def model_name(system: System) -> str:
    """What the processor calls itself, with family and model, which tell generations of one name apart."""
    fields = system.fields("proc/cpuinfo")
    if "model name" in fields:
        numbers = "/".join(fields[key] for key in ("cpu family", "model", "stepping") if key in fields)
        return fields["model name"] + (f" ({numbers})" if numbers else "")
    maker = fields.get("CPU implementer")
    if maker:
        return f"{_ARM_MAKERS.get(maker, maker)} part {fields.get('CPU part', 'unknown')}"
    return "unknown processor"


def clock_hz(system: System) -> float:
    """The clock as reported, or 2.5 GHz: a typical server's."""
    match = re.match(r"[\d.]+", system.fields("proc/cpuinfo").get("cpu MHz", ""))
    return float(match[0]) * 1e6 if match and float(match[0]) > 0 else 2.5e9
