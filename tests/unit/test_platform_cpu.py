"""The probe on recorded machines and on this one."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_machine import Recorded

from recsmith.platforms import PLATFORMS, load, restrict
from recsmith.platforms.cpu import probe
from recsmith.platforms.system import System, parse_list, parse_size
from recsmith.spec import FormatError, PlanError, Platform, UnknownNameError


def test_one_socket_is_a_tree_from_core_to_memory(tmp_path):
    platform = probe(Recorded(tmp_path).write())
    core = platform.cores[0]
    assert [core.id for core in platform.cores] == [f"node0/cpu0/c{i}" for i in range(4)]
    assert core.memories == ("node0/cpu0/c0/l1d", "node0/cpu0/c0/l2", "node0/cpu0/l3.0", "node0/ram")
    assert core.roles == {"global": "node0/ram", "local": "node0/cpu0/c0/l2", "staging": "node0/cpu0/c0/l1d"}
    assert platform.bind(core.id, "local").capacity_bytes == 1 << 20
    assert platform.memory("node0/cpu0/l3.0").cores == tuple(core.id for core in platform.cores)
    assert platform.memory("node0/ram").capacity_bytes == 64 << 30
    assert platform.machine == "Test CPU (6/85/7), avx512, 4 cores"
    assert platform.source == "probed"
    assert "modelled" in platform.notes[0]


def test_threads_of_a_core_come_last_and_know_each_other(tmp_path):
    platform = probe(Recorded(tmp_path, smt=2).write())
    assert [core.index for core in platform.cores] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert platform.core("node0/cpu0/c1").siblings == ("node0/cpu0/c5",)
    assert platform.core("node0/cpu0/c1").memories == platform.core("node0/cpu0/c5").memories
    assert platform.bind("node0/cpu0/c5", "local").cores == ("node0/cpu0/c1", "node0/cpu0/c5")


def test_neighbouring_threads_are_spread_too(tmp_path):
    recorded = Recorded(tmp_path, cores=4)
    recorded.write()
    for index in range(4):
        pair = f"{index // 2 * 2}-{index // 2 * 2 + 1}"
        recorded.put(f"sys/devices/system/cpu/cpu{index}/topology/thread_siblings_list", pair)
    assert [core.index for core in probe(tmp_path).cores] == [0, 2, 1, 3]


def test_two_sockets_are_two_nodes_with_their_own_memory(tmp_path):
    platform = probe(Recorded(tmp_path, sockets=2, cores=2, smt=2).write())
    assert {memory.id for memory in platform.memories if memory.kind == "ram"} == {"node0/ram", "node1/ram"}
    assert platform.bind("node1/cpu1/c2", "global").id == "node1/ram"
    assert platform.memory("node1/ram").cores == ("node1/cpu1/c2", "node1/cpu1/c3", "node1/cpu1/c6", "node1/cpu1/c7")
    assert platform.memory("node1/cpu1/l3.2").parent == "node1/ram"


def test_version_2_quota_and_memory_limit_bind(tmp_path):
    recorded = Recorded(tmp_path)
    recorded.write()
    recorded.put("proc/self/cgroup", "0::/app/worker")
    recorded.put("sys/fs/cgroup/app/cpu.max", "250000 100000")
    recorded.put("sys/fs/cgroup/app/worker/cpu.max", "max 100000")
    recorded.put("sys/fs/cgroup/app/worker/memory.max", 8 << 30)
    platform = probe(tmp_path)
    assert [core.index for core in platform.cores] == [0, 1]
    assert platform.memory("node0/ram").capacity_bytes == 8 << 30
    assert platform.machine.endswith("4 cores")
    assert any("2 of 4 processors" in note for note in platform.notes)
    assert any("8.6 GB" in note for note in platform.notes)


def test_version_1_quota_below_one_core_leaves_one(tmp_path):
    recorded = Recorded(tmp_path)
    recorded.write()
    recorded.put("proc/self/cgroup", "4:memory:/docker/x\n1:cpu,cpuacct:/docker/x")
    recorded.put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", 50000)
    recorded.put("sys/fs/cgroup/cpu/cpu.cfs_period_us", 100000)
    recorded.put("sys/fs/cgroup/memory/memory.limit_in_bytes", 9223372036854771712)
    platform = probe(tmp_path)
    assert len(platform.cores) == 1
    assert platform.memory("node0/ram").capacity_bytes == 64 << 30


def test_memory_limit_is_divided_among_nodes(tmp_path):
    recorded = Recorded(tmp_path, sockets=2)
    recorded.write()
    recorded.put("sys/fs/cgroup/memory.max", 32 << 30)
    assert probe(tmp_path).memory("node1/ram").capacity_bytes == 16 << 30


def test_affinity_and_cpuset_are_obeyed(tmp_path):
    recorded = Recorded(tmp_path, cores=8)
    recorded.write()
    recorded.put("proc/self/status", "Name:\tx\nCpus_allowed_list:\t2-5")
    recorded.put("sys/fs/cgroup/cpuset.cpus.effective", "4-7")
    assert [core.index for core in probe(tmp_path).cores] == [4, 5]
    assert [core.index for core in probe(tmp_path, affinity=[7]).cores] == [7]


def test_missing_caches_are_assumed_and_said_so(tmp_path):
    platform = probe(Recorded(tmp_path, caches={}).write())
    assert platform.bind("node0/cpu0/c2", "local").id == "node0/cpu0/c2/l2"
    assert platform.bind("node0/cpu0/c2", "local").reported_bytes == 0
    assert any("l1d and l2" in note and "assumed" in note for note in platform.notes)


def test_arm_has_neon_and_a_name(tmp_path):
    info = "CPU implementer\t: 0x41\nCPU part\t: 0xd40\nFeatures\t: fp asimd sve\n"
    platform = probe(Recorded(tmp_path, cpuinfo=info).write())
    assert platform.machine == "Arm part 0xd40, neon, 4 cores"
    assert [c for c in platform.capabilities if c.startswith("isa:")] == ["isa:scalar", "isa:neon"]


def test_an_empty_tree_is_one_core_with_assumed_memories(tmp_path):
    platform = probe(tmp_path)
    assert len(platform.cores) == 1
    assert [memory.kind for memory in platform.memories] == ["cache", "cache", "ram"]
    assert platform.machine == "unknown processor, scalar, 1 cores"


def test_memory_that_the_nodes_forgot_is_counted(tmp_path):
    recorded = Recorded(tmp_path)
    recorded.write()
    recorded.put("proc/meminfo", f"MemTotal: {3 * recorded.node_kb} kB")
    assert probe(tmp_path).memory("node0/ram").capacity_bytes == 3 * (64 << 30)


@pytest.mark.parametrize(
    ("mode", "huge"), [("always [madvise] never", True), ("[always] madvise never", True), ("[never]", False)]
)
def test_huge_pages_are_a_capability(tmp_path, mode, huge):
    recorded = Recorded(tmp_path)
    recorded.write()
    recorded.put("sys/kernel/mm/transparent_hugepage/enabled", mode)
    assert ("page:huge" in probe(tmp_path).capabilities) is huge


@given(
    sockets=st.integers(1, 2),
    cores=st.integers(1, 5),
    smt=st.integers(1, 2),
    allowed=st.sets(st.integers(0, 19)),
    quota=st.one_of(st.none(), st.floats(0.1, 30)),
)
def test_any_machine_is_a_consistent_tree(tmp_path_factory, sockets, cores, smt, allowed, quota):
    recorded = Recorded(tmp_path_factory.mktemp("machine"), sockets, cores, smt)
    root = recorded.write()
    if quota is not None:
        recorded.put("sys/fs/cgroup/cpu.max", f"{int(quota * 1000)} 1000")
    platform = probe(root, affinity=allowed)
    ids = {core.id for core in platform.cores}
    assert 1 <= len(ids) <= recorded.count
    for core in platform.cores:
        assert set(core.roles.values()) <= set(core.memories)
        for inner, outer in zip(core.memories, core.memories[1:], strict=False):
            assert platform.memory(inner).parent == outer
        assert core.id in platform.memory(core.memories[0]).cores
        assert set(core.siblings) <= ids - {core.id}
    assert all(set(memory.cores) <= ids and memory.capacity_bytes > 0 for memory in platform.memories)
    assert Platform.from_json(platform.to_json()) == platform


def test_this_machine_can_be_probed_and_reopened(tmp_path):
    platform = load("cpu")
    assert {core.index for core in platform.cores} <= os.sched_getaffinity(0)
    assert load(platform.save(tmp_path / "machine.json")) == platform
    assert load(str(tmp_path / "machine.json")).digest() == platform.digest()


def test_unknown_names_and_files_are_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="cpu"):
        load("abacus")
    with pytest.raises(FormatError, match=r"absent\.json"):
        load("absent.json")
    assert PLATFORMS.names()[0] == "cpu"


def test_fewer_cores_keep_the_tree_consistent(tmp_path):
    platform = restrict(probe(Recorded(tmp_path, sockets=2, cores=2, smt=2).write()), 2)
    assert [core.index for core in platform.cores] == [0, 1]
    assert all(memory.cores and set(memory.cores) <= {"node0/cpu0/c0", "node0/cpu0/c1"} for memory in platform.memories)
    assert platform.cores[0].siblings == ()
    with pytest.raises(PlanError, match="Choose 1 to 2"):
        restrict(platform, 3)


def test_modelled_speeds_get_slower_outwards_and_with_row_size(tmp_path):
    platform = probe(Recorded(tmp_path).write())

    def gather(memory: str, row_bytes: int) -> float:
        [point] = [
            c.seconds
            for c in platform.memory(memory).curves
            if (c.access, c.row_bytes, c.active_cores, c.page) == ("gather", row_bytes, 1, "huge")
        ]
        return point

    chain = platform.cores[0].memories
    for row_bytes in (64, 512):
        seconds = [gather(memory, row_bytes) for memory in chain]
        assert seconds == sorted(seconds)
    assert gather("node0/ram", 64) < gather("node0/ram", 128) < gather("node0/ram", 512)


@given(st.sets(st.integers(0, 300)))
def test_lists_of_numbers_read_back(numbers):
    assert parse_list(",".join(str(n) for n in numbers)) == tuple(sorted(numbers))


@pytest.mark.parametrize(("text", "size"), [("48K", 49152), ("2M", 2097152), ("512", 512), ("x", None), (None, None)])
def test_sizes_read(text, size):
    assert parse_size(text) == size


def test_absent_files_are_none(tmp_path):
    system = System(tmp_path)
    assert system.text("a") is None and system.integer("a") is None and system.cpus("a") is None
    assert system.numbered("a", "cpu") == () and system.fields("a") == {}
