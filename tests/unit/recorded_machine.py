"""Writes the /proc and /sys of a made-up machine below a folder."""

from dataclasses import dataclass, field
from pathlib import Path

AVX512 = "fpu avx2 fma f16c avx512f avx512bw avx512vl avx512dq bmi2"


@dataclass
class Recorded:
    """A machine with `sockets` sockets of `cores` cores with `smt` threads; threads of one core are far apart."""

    root: Path
    sockets: int = 1
    cores: int = 4
    smt: int = 1
    cpuinfo: str = (
        f"model name\t: Test CPU\ncpu family\t: 6\nmodel\t: 85\nstepping\t: 7\ncpu MHz\t: 2000.0\nflags\t: {AVX512}\n"
    )
    caches: dict[int, str] = field(default_factory=lambda: {1: "32K", 2: "1024K", 3: "32768K"})
    node_kb: int = 64 << 20

    def put(self, path: str, text: object) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"{text}\n")

    @property
    def count(self) -> int:
        return self.sockets * self.cores * self.smt

    def write(self) -> Path:
        total = self.sockets * self.cores
        self.put("proc/cpuinfo", self.cpuinfo)
        self.put("proc/meminfo", f"MemTotal: {self.node_kb * self.sockets} kB")
        self.put("sys/devices/system/cpu/online", f"0-{self.count - 1}")
        for index in range(self.count):
            physical, socket = index % total, index % total // self.cores
            threads = ",".join(str(physical + thread * total) for thread in range(self.smt))
            folder = f"sys/devices/system/cpu/cpu{index}"
            self.put(f"{folder}/topology/thread_siblings_list", threads)
            self.put(f"{folder}/topology/physical_package_id", socket)
            for level, size in self.caches.items():
                self.put_cache(
                    f"{folder}/cache/index{level}", level, size, threads if level < 3 else self.socket(socket)
                )
        for socket in range(self.sockets):
            node = f"sys/devices/system/node/node{socket}"
            self.put(f"{node}/cpulist", self.socket(socket))
            self.put(f"{node}/meminfo", f"Node {socket} MemTotal:       {self.node_kb} kB")
        return self.root

    def socket(self, socket: int) -> str:
        total = self.sockets * self.cores
        first = [socket * self.cores + thread * total for thread in range(self.smt)]
        return ",".join(f"{start}-{start + self.cores - 1}" for start in first)

    def put_cache(self, folder: str, level: int, size: str, shared: str) -> None:
        self.put(f"{folder}/level", level)
        self.put(f"{folder}/type", "Data" if level == 1 else "Unified")
        self.put(f"{folder}/size", size)
        self.put(f"{folder}/coherency_line_size", 64)
        self.put(f"{folder}/shared_cpu_list", shared)
