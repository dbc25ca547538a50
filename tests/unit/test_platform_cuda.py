"""GPUs as data: by their figures, and as a driver describes them. No GPU takes part."""

import ctypes
from itertools import pairwise

import pytest
from msgspec.structs import replace

from recsmith import api
from recsmith.cost import COSTS
from recsmith.cost.fitted import FittedCost
from recsmith.cost.near import RESERVE_BYTES, far_shares
from recsmith.data import distributions, shapes
from recsmith.planner.arbitrary import arbitrary
from recsmith.platforms import load
from recsmith.platforms.chip import chip, names
from recsmith.platforms.cuda import probe
from recsmith.platforms.driver import CudaDriver, Device, pcie_link
from recsmith.platforms.restrict import restrict
from recsmith.spec import (
    CapacityError,
    Dhe,
    Feature,
    Model,
    PlanError,
    Platform,
    Popularity,
    Request,
    RowFormat,
    Shard,
    Table,
    UnavailableError,
    Work,
    Workload,
    check,
)
from recsmith.strategies import STRATEGIES


class FakeDevice:
    """A driver with one GPU."""

    def __init__(self, **changed):
        self.found = Device(
            **{
                "name": "NVIDIA H200",
                "compute_capability": "9.0",
                "sms": 132,
                "clock_hz": 1.98e9,
                "shared_bytes": 228 << 10,
                "shared_bytes_per_block": 227 << 10,
                "l2_bytes": 60 << 20,
                "persisting_l2_bytes": 40 << 20,
                "memory_bytes": 139 << 30,
                "memory_clock_hz": 3.2e9,
                "bus_bits": 6144,
                "cluster_sms": 8,
                "copy_engines": 3,
                "driver_version": "CUDA 13.0",
                **changed,
            }
        )

    def device(self, index):
        return self.found


def answered(**attributes):
    """A stand-in for libcuda that answers as told."""
    numbers = {16: 132, 13: 1980000, 81: 233472, 97: 232448, 38: 62914560, 36: 3201000, 37: 6144, 75: 9, 76: 0, 120: 1}

    class Library:
        def cuInit(self, flags):
            return attributes.get("init", 0)

        def cuDeviceGetCount(self, count):
            count._obj.value = attributes.get("count", 1)
            return 0

        def cuDeviceGet(self, handle, index):
            handle._obj.value = index
            return 0

        def cuDeviceGetName(self, text, length, handle):
            text.value = b"NVIDIA H200"
            return 0

        def cuDeviceTotalMem_v2(self, nbytes, handle):
            nbytes._obj.value = 139 << 30
            return 0

        def cuDeviceGetAttribute(self, value, number, handle):
            if number not in numbers:
                return 1
            value._obj.value = numbers[number]
            return 0

        def cuDriverGetVersion(self, value):
            value._obj.value = 13000
            return 0

        def cuDeviceGetPCIBusId(self, text, length, handle):
            text.value = b"0000:01:00.0"
            return 0

    return Library()


def test_the_driver_is_asked_for_every_size():
    device = CudaDriver(answered()).device(0)
    assert (device.sms, device.compute_capability, device.cluster_sms) == (132, "9.0", 8)
    assert device.clock_hz == 1.98e9 and device.memory_bytes == 139 << 30
    assert device.copy_engines == 0, "an attribute the driver does not know counts as absent"


@pytest.mark.parametrize("said", [{"init": 100}, {"count": 0}])
def test_a_driver_without_a_gpu_is_an_error_that_names_it(said):
    with pytest.raises(UnavailableError, match=r"\[platform\].*NVIDIA driver"):
        CudaDriver(answered(**said))


def test_a_gpu_that_is_not_there_is_an_error():
    with pytest.raises(UnavailableError, match="GPU 1 was asked for; there are 1"):
        CudaDriver(answered()).device(1)


def test_without_a_driver_probing_says_how_to_plan_anyway(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    with pytest.raises(UnavailableError, match="--platform h200"):
        load("cuda")


def test_pcie_is_read_from_the_system(tmp_path):
    card = tmp_path / "0000:01:00.0"
    card.mkdir()
    (card / "max_link_speed").write_text("32.0 GT/s PCIe\n")
    (card / "max_link_width").write_text("16\n")
    assert pcie_link("0000:01:00.0", str(tmp_path)) == "32.0 GT/s PCIe x16"
    assert pcie_link("absent", str(tmp_path)) == ""


@pytest.mark.parametrize("name", names())
def test_every_figure_of_a_chip_has_a_source(name):
    assert all(figure.source and figure.value > 0 for figure in chip(name).figures.values())


@pytest.mark.parametrize("name", names())
def test_a_modelled_gpu_is_a_platform_that_says_so(name):
    platform = load(name)
    assert platform.source == "datasheet" and platform.kind == "cuda"
    assert platform.notes[0].startswith("Modelled")
    assert Platform.from_json(platform.to_json()) == platform
    for core in platform.cores:
        assert platform.bind(core.id, "local").kind == "scratchpad"
        assert not platform.bind(core.id, "local").persistent
    held = platform.bind("sm0", "local").capacity_bytes + platform.bind("sm0", "staging").capacity_bytes
    assert held == chip(name)["shared_bytes_per_block"]


def test_a_probed_gpu_of_a_known_kind_has_the_machine_of_its_model():
    platform = probe(FakeDevice())
    assert platform.machine == load("h200").machine == "NVIDIA H200, sm_90, 132 SMs"
    assert platform.source == "probed" and platform.memory("l2") == load("h200").memory("l2")


def test_an_unknown_gpu_gets_its_own_sizes_and_rates_in_proportion():
    platform = probe(FakeDevice(name="Other", sms=66, clock_hz=1e9, l2_bytes=32 << 20, memory_bytes=40 << 30))
    assert len(platform.cores) == 66 and platform.memory("hbm").capacity_bytes == 40 << 30
    assert platform.memory("l2").capacity_bytes == int(0.8 * (32 << 20))
    assert "nearest" in platform.notes[0]


def test_more_sms_at_once_are_never_quicker_each():
    for memory in load("h200").memories[:3]:
        for access in ("gather", "copy", "read", "write"):
            points = sorted((c.row_bytes, c.active_cores, c.seconds) for c in memory.curves if c.access == access)
            for (size, _, before), (other, _, after) in pairwise(points):
                assert size != other or before <= after


def test_all_sms_together_read_at_the_rate_of_the_figure():
    figures, platform = chip("h200"), load("h200")
    (read,) = [c for c in platform.memory("hbm").curves if c.access == "read" and c.active_cores == 132]
    assert 132 / read.seconds == pytest.approx(figures["hbm_bytes_per_s"])


def test_tables_kept_in_memory_that_forgets_are_brought_in_with_every_batch():
    platform, cost = load("h200"), FittedCost()
    asked = Request("local", 64, 100, Popularity.uniform(1000), "t[0:1000]")
    kept = Work(requests=(asked,), kept_bytes=64_000)
    (found,) = cost.loads(platform, {"sm0": (kept,)})["sm0"]
    loaded = sum(seconds for part, seconds in found.breakdown.items() if part.startswith("load "))
    assert loaded == pytest.approx(64_000 / (64 * 1.98e9))
    (without,) = cost.loads(platform, {"sm0": (Work(requests=(asked,)),)})["sm0"]
    assert found.seconds == pytest.approx(without.seconds + loaded)


def test_memory_that_keeps_its_content_loads_nothing():
    from recsmith.testing.machines import scratchpad_machine

    asked = Request("local", 64, 100, Popularity.uniform(1000), "t[0:1000]")
    (found,) = FittedCost().loads(scratchpad_machine(2), {"core0": (Work(requests=(asked,), kept_bytes=64_000),)})[
        "core0"
    ]
    assert not any(part.startswith("load ") for part in found.breakdown)


def test_work_on_a_gpu_is_handed_over_even_to_a_single_sm():
    platform, cost = load("h200"), FittedCost()
    total = cost.total(platform, cost.loads(platform, {"sm0": (Work(vectors=1, written_bytes=64),)}))
    assert total.breakdown["handoff"] == platform.overheads.handoff_s


@pytest.mark.parametrize("planner", ["symmetric", "greedy", "auto"])
def test_plans_for_a_modelled_gpu_hold(planner):
    shape = shapes.shape("unbalanced_10m", 16, 64 << 20, "fp16")
    law = distributions.parse("zipf:1.05", [f.name for f in shape.model.features])
    workload = shape.workload(256, law, "zipf")
    platform = load("a100")
    plan = api.plan(shape.model, platform, workload, planner=planner)
    check(plan, api.problem(shape.model, platform, workload), api.strategies())
    assert plan.predicted[0].total.source == "modelled"
    assert not any("caller's thread" in note for note in plan.notes)


def test_a_plan_is_made_of_flows_that_the_platform_has_kernels_for_unless_others_are_named():
    platform = load("a100")
    assert list(api.strategies(platform=platform)) == ["gm", "l1", "gm_ub"]
    together = ["l1x2", "l1x4", "l1x8"]
    assert list(api.strategies(platform=load("h200"))) == ["gm", "l1", "gm_ub", *together]
    assert list(api.strategies(platform=restrict(load("h200"), 6))) == ["gm", "l1", "gm_ub", *together[:2]]
    assert list(api.strategies(platform=api.platform("cpu"))) == ["gm", "l1", "gm_ub", "l1_ub"]
    assert list(api.strategies()) == list(STRATEGIES.names()) == ["gm", "l1", "gm_ub", "l1_ub", *together]
    assert list(api.strategies(["l1_ub"], platform)) == ["l1_ub"]
    for alone in (platform, api.platform("cpu")):
        with pytest.raises(PlanError, match="strategy 'l1x4' needs 4 neighbouring cores that read each other's memory"):
            api.strategies(["gm", "l1x4"], alone)


def test_owned_tables_gain_where_the_figures_say_so():
    """Long bags over small tables: shared memory answers at more than twice the L2's share of an SM."""
    shape = shapes.shape("small84_25mb", 32, dtype="fp16")
    workload = shape.workload(64, distributions.parse("uniform", [f.name for f in shape.model.features]), "u")
    problem = api.problem(shape.model, load("h200"), workload)
    cost = COSTS["fitted"]()
    feature = problem.gathers[0]
    table = problem.model.table(feature.table)
    local, far = (
        STRATEGIES[name]().work(
            feature, table, Shard(table.name, 0, table.rows), 4096 * 50, workload.access(feature.feature)
        )
        for name in ("l1", "gm")
    )
    every = [core.id for core in problem.platform.cores]
    near_s = cost.loads(problem.platform, {core: (local,) for core in every})["sm0"][0].seconds
    far_s = cost.loads(problem.platform, {core: (far,) for core in every})["sm0"][0].seconds
    assert near_s < far_s


def test_cores_that_read_each_others_memory_come_in_groups_of_neighbours():
    few = restrict(load("h200"), 7)
    assert few.groups(4) == (("sm0", "sm1", "sm2", "sm3"),)
    assert few.groups(2) == (("sm0", "sm1"), ("sm2", "sm3"), ("sm4", "sm5"))
    assert few.groups(1) == tuple((f"sm{at}",) for at in range(7))
    assert few.groups(8) == () == restrict(load("a100"), 8).groups(2) == load("h200").groups(32)
    limited = replace(few, capabilities=(*few.capabilities, "clusters:2x2", "clusters:4x0"))
    assert limited.groups(2) == few.groups(2)[:2] and limited.groups(4) == ()


def grouped_problem():
    """Three tables that fit the memories of four of twelve cores together, and three that fit one's."""
    tables = tuple(Table(f"t{at}", 20_000 if at < 3 else 1000, 16, RowFormat("fp16")) for at in range(6))
    model = Model("m", tables, tuple(Feature(f"f{at}", f"t{at}") for at in range(6)))
    return model, restrict(load("h200"), 12), Workload.uniform(model, 64)


@pytest.mark.parametrize("planner", ["greedy", "ilp"])
def test_planners_give_tables_to_whole_groups(planner):
    """That they are whole, `plan` checks."""
    plan = api.plan(*grouped_problem(), planner=planner, allow=["l1", "l1x4"])
    placed = {p.feature: p for b in plan.buckets for s in b.stages for p in s.placements}
    assert [placed[f"f{at}"].strategy for at in range(3)] == ["l1x4"] * 3
    assert len({placed[f"f{at}"].cores for at in range(3)}) == 3, "none of them has room for two"
    with pytest.raises(PlanError, match="no placement of table 't0'"):
        api.plan(*grouped_problem(), planner=planner, allow=["l1x2"])
    cut = [
        p for b in api.plan(*grouped_problem(), planner=planner, allow=["l1"]).buckets for p in b.stages[0].placements
    ]
    assert {p.feature for p in cut if p.reduce == "add"} >= {"f0", "f1", "f2"}, "rows are cut where none may group"


def test_plans_drawn_at_random_keep_to_groups():
    model, platform, workload = grouped_problem()
    problem, strategies = api.problem(model, platform, workload), api.strategies(["l1x4", "l1x2", "l1", "gm"])
    seen = set()
    for seed in range(8):
        plan = arbitrary(problem, strategies, FittedCost(), seed)
        check(plan, problem, strategies)
        seen |= {p.strategy for b in plan.buckets for s in b.stages for p in s.placements}
    assert {"l1x2", "l1x4"} <= seen


def test_a_symmetric_plan_groups_all_cores_or_none():
    model, platform, workload = grouped_problem()
    small = Model("m", model.tables[3:], model.features[3:])
    workload = Workload.uniform(small, 64)
    plan = api.plan(small, platform, workload, planner="symmetric", allow=["l1x4"])
    assert {len(p.cores) for p in plan.buckets[0].stages[0].placements} == {12}
    with pytest.raises(PlanError, match="no placement"):
        api.plan(small, restrict(load("h200"), 13), workload, planner="symmetric", allow=["l1x4"])


def test_a_group_keeps_a_part_of_the_rows_each():
    model, platform, workload = grouped_problem()
    whole, op = Shard("t3", 0, 1000), next(g for g in api.problem(model, platform, workload).gathers if g.table == "t3")
    works = [STRATEGIES[n]().work(op, model.table("t3"), whole, 32, workload.access("f3")) for n in ("l1", "l1x4")]
    assert [work.kept_bytes for work in works] == [32_000, 8_000]
    alone, together = (FittedCost().loads(platform, {"sm0": (work,)})["sm0"][0].breakdown for work in works)
    assert 0 < _brought_s(together) < _brought_s(alone)
    curves = [c for c in platform.memory("cluster").curves if c.access == "copy" and c.row_bytes == 32]
    (curve,) = [c for c in curves if c.active_cores == 1]
    assert together["rows cluster"] == pytest.approx(32 * curve.seconds)


def _brought_s(breakdown):
    return sum(seconds for part, seconds in breakdown.items() if part.startswith("load "))


def test_a_plan_whose_cores_cannot_keep_a_table_together_is_refused():
    model, platform, workload = grouped_problem()
    plan = api.plan(model, platform, workload, planner="symmetric", allow=["gm"])
    (stage,) = plan.buckets[0].stages
    for cores in (("sm1", "sm2"), ("sm0", "sm1", "sm2"), ("sm1", "sm0")):
        one = replace(stage.placements[1], strategy="l1x2", cores=cores)
        wrong = replace(stage, placements=(stage.placements[0], one, *stage.placements[2:]))
        with pytest.raises(PlanError, match=r"under 'l1x2' is placed on sm\d.*, which cannot keep a table together"):
            check(
                replace(plan, buckets=(replace(plan.buckets[0], stages=(wrong,)),)),
                api.problem(model, platform, workload),
                api.strategies(),
            )


def divided_problem(hbm_bytes):
    """A small and a large table of as many look-ups, on a GPU whose memory holds so much beside its reserve."""
    tables = (Table("large", 1_000_000, 16, RowFormat("fp16")), Table("small", 1000, 16, RowFormat("fp16")))
    model = Model("m", tables, (Feature("fl", "large"), Feature("fs", "small")))
    platform = restrict(load("h200"), 4)
    memories = [replace(m, capacity_bytes=hbm_bytes) if m.id == "hbm" else m for m in platform.memories]
    return model, replace(platform, memories=tuple(memories)), Workload.uniform(model, 4096)


def test_rows_that_a_gpu_has_no_room_for_are_read_across_the_bus():
    model, platform, workload = divided_problem(RESERVE_BYTES + 8_032_000)
    plan = api.plan(model, platform, workload, planner="symmetric")
    assert plan.notes[0] == "0.0 GB of 1 tables (large) are read from the host's memory."
    assert {p.feature: p.strategy for p in plan.buckets[0].stages[0].placements}["fl"] == "gm"
    breakdown = plan.predicted[0].total.breakdown
    (curve,) = [
        c for c in platform.memory("host").curves if (c.access, c.row_bytes, c.active_cores) == ("copy", 32, 132)
    ]
    assert breakdown["rows host"] == pytest.approx(0.75 * 1024 * curve.seconds * 4 / 132), "three quarters lie there"
    roomy = api.plan(*divided_problem(1 << 40), planner="symmetric")
    assert "rows host" not in roomy.predicted[0].total.breakdown and not any("host" in note for note in roomy.notes)
    assert plan.predicted[0].total.seconds > roomy.predicted[0].total.seconds


def test_rows_that_are_computed_lie_nowhere():
    stored = Table("stored", 1_000_000, 16, RowFormat("fp16"))
    computed = Table("computed", 1 << 31, 16, computed=Dhe(k=8, hidden=(8,)))
    _, platform, _ = divided_problem(RESERVE_BYTES + stored.nbytes)
    assert far_shares(platform, (stored, computed), {"stored": 1.0, "computed": 9.0}) == {}
    _, platform, _ = divided_problem(RESERVE_BYTES + stored.nbytes // 2)
    assert far_shares(platform, (stored, computed), {"stored": 1.0, "computed": 9.0}) == {"stored": 0.5}


def test_more_than_gpu_and_host_hold_is_refused():
    model, platform, workload = divided_problem(RESERVE_BYTES)
    platform = replace(
        platform, memories=tuple(replace(m, capacity_bytes=1000) if m.id == "host" else m for m in platform.memories)
    )
    platform = replace(
        platform, memories=tuple(replace(m, capacity_bytes=1000) if m.id == "hbm" else m for m in platform.memories)
    )
    with pytest.raises(CapacityError, match="has 2,000"):
        api.plan(model, platform, workload, planner="symmetric")


def test_flows_that_keep_rows_are_not_planned_for_what_lies_in_the_hosts_memory():
    model, platform, workload = divided_problem(RESERVE_BYTES)
    for planner in ("symmetric", "greedy"):
        with pytest.raises(PlanError, match="no placement"):
            api.plan(model, platform, workload, planner=planner, allow=["l1", "gm_ub"])
        plan = api.plan(model, platform, workload, planner=planner)
        assert {p.strategy for p in plan.buckets[0].stages[0].placements} == {"gm"}
