"""A check-up of machine and installation: all of it as data, each finding with its remedy."""

from __future__ import annotations

import sys

import recsmith
from recsmith.spec import Platform

from .cgroup import read_limits
from .cpu import probe
from .finding import Checkup, Finding
from .granted import granted_bytes
from .native_build import native_findings
from .packages import package_findings
from .pages import ENABLE_COMMAND, HugePages, read_pages
from .processor import isas, model_name
from .system import System
from .topology import online

_CLOCK = "sys/devices/system/clocksource/clocksource0/current_clocksource"
_GOVERNOR = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
_GOOD_CLOCKS = ("tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page")
_PLAUSIBLE_SHARE_BYTES = 8 << 20


def checkup() -> Checkup:
    """Everything that `recsmith doctor` shows."""
    system = System()
    platform = probe()
    return Checkup(
        (
            Finding("recsmith", "version", recsmith.__version__),
            Finding("recsmith", "Python", sys.version.split()[0]),
            *native_findings(isas(system)),
            *processor_findings(system, platform),
            *memory_findings(system, platform),
            *package_findings(),
        )
    )


def processor_findings(system: System, platform: Platform) -> list[Finding]:
    """Processor, cores that may be used, caches, clock, and what disturbs timing."""
    return [
        Finding("processor", "model", model_name(system)),
        _cores(system, platform),
        *_load(system, platform),
        _big_cache(platform),
        _clock(system),
        *_governor(system),
    ]


def memory_findings(system: System, platform: Platform) -> list[Finding]:
    """Memory that may be used and huge pages, offered and really given."""
    nbytes = sum(memory.capacity_bytes for memory in platform.memories if memory.kind == "ram")
    limit = read_limits(system).memory_bytes
    size = f"{nbytes / 1e9:.1f} GB" + (" (control-group limit)" if limit is not None and limit <= nbytes else "")
    return [Finding("memory", "usable", size), *page_findings(read_pages(system), granted_bytes())]


def page_findings(pages: HugePages, given_bytes: int) -> list[Finding]:
    """Mode of transparent huge pages, and whether asking for some gave them (`given_bytes` in all)."""
    mode = pages.transparent or "not offered by this kernel"
    if not pages.available:
        offered = Finding("memory", "transparent huge pages", mode, "warning", ENABLE_COMMAND)
    else:
        offered = Finding("memory", "transparent huge pages", mode)
    if given_bytes > 0:
        return [offered, Finding("memory", "huge pages granted", f"yes ({given_bytes >> 20} MB of a trial)")]
    remedy = "Free memory or compact it: echo 1 | sudo tee /proc/sys/vm/compact_memory" if pages.available else (
        ENABLE_COMMAND
    )  # fmt: skip
    return [offered, Finding("memory", "huge pages granted", "no", "warning", remedy)]


def _cores(system: System, platform: Platform) -> Finding:
    usable, present = len(platform.cores), len(online(system))
    quota = read_limits(system).cpus
    value = f"{usable} of {present}" + (f" (processor-time limit {quota:g})" if quota is not None else "")
    value += f": {', '.join(str(core.index) for core in platform.cores)}"
    if usable == present:
        return Finding("processor", "cores usable", value)
    return Finding(
        "processor", "cores usable", value, "note", "Widen the affinity (taskset) or the container's limits if meant."
    )


def _load(system: System, platform: Platform) -> list[Finding]:
    words = (system.text("proc/loadavg") or "").split()
    if not words:
        return []
    busy = float(words[0])
    if busy < 0.5 * len(platform.cores):
        return [Finding("processor", "load", words[0])]
    return [Finding("processor", "load", words[0], "warning", "Other work runs: measurements will be noisy.")]


def _big_cache(platform: Platform) -> Finding:
    caches = [memory for memory in platform.memories if memory.kind == "cache"]
    text = ", ".join(f"{memory.id.rsplit('/', 1)[-1]} {memory.capacity_bytes >> 10} kB" for memory in caches[:8])
    largest = max(caches, key=lambda memory: memory.capacity_bytes)
    if largest.capacity_bytes / max(1, len(largest.cores)) <= _PLAUSIBLE_SHARE_BYTES:
        return Finding("processor", "caches", text)
    remedy = "The last one is probably shared with others on this host: recsmith measure finds the usable part."
    return Finding("processor", "caches", text, "note", remedy)


def _clock(system: System) -> Finding:
    name = system.text(_CLOCK) or "unknown"
    if name in _GOOD_CLOCKS:
        return Finding("processor", "clock source", name)
    remedy = f"Reading the time is slow: echo tsc | sudo tee /{_CLOCK}"
    return Finding("processor", "clock source", name, "warning", remedy)


def _governor(system: System) -> list[Finding]:
    governor = system.text(_GOVERNOR)
    if governor is None:
        return []
    if governor == "performance":
        return [Finding("processor", "frequency governor", governor)]
    return [Finding("processor", "frequency governor", governor, "note", "sudo cpupower frequency-set -g performance")]
