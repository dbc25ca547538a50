"""Prices on made-up machines: worked by hand where all rows lie in one place, else by what must hold."""

import pytest
from msgspec.structs import replace

from recsmith.cost import COSTS
from recsmith.cost.curves import CurveSpeeds
from recsmith.cost.fitted import FittedCost
from recsmith.cost.roofline import RooflineCost
from recsmith.spec import Curve, Memory, Popularity, Request, Stream, Tuning, UnavailableError, Widening, Work
from recsmith.testing.machines import MIB, cached_machine, scratchpad_machine

CORE = "node0/cpu0/c0"
OTHER = "node0/cpu0/c1"
COST = FittedCost()


def gather(rows, count=1000.0, role="global", name="t", **more) -> Work:
    return Work(requests=(Request(role, 64, count, Popularity.uniform(rows), name),), **more)


def memory_with(*curves: Curve) -> Memory:
    return Memory("m", None, ("c",), 2**30, "ram", curves=curves)


def only(estimates):
    (estimate,) = estimates
    return estimate


def test_the_menu_holds_both_models():
    assert {type(COSTS[name]()) for name in COSTS} == {FittedCost, RooflineCost}


def test_rows_that_fit_the_inner_cache_cost_its_seconds():
    estimate = only(COST.loads(cached_machine(), {CORE: [gather(100)]})[CORE])
    assert estimate.breakdown == pytest.approx({"bags l1": 1000 * 1e-9, "task": 5e-8})
    assert estimate.seconds == pytest.approx(sum(estimate.breakdown.values()))


def test_half_of_a_table_twice_the_last_cache_comes_from_memory():
    platform = cached_machine(l2_bytes=32 * 1024, l3_bytes=2 * MIB)
    estimate = only(COST.loads(platform, {CORE: [gather(4 * MIB // 64, 10_000.0)]})[CORE])
    assert estimate.breakdown["bags ram"] == pytest.approx(5_000 * 14e-9, rel=0.02)


def test_a_cache_that_plays_local_keeps_rows_by_being_used():
    platform = cached_machine()
    local, remote = (only(COST.loads(platform, {CORE: [gather(10**5, role=r)]})[CORE]) for r in ("local", "global"))
    assert local == remote


def test_a_scratchpad_that_plays_local_holds_its_rows():
    platform = scratchpad_machine()
    estimate = only(COST.loads(platform, {"core0": [gather(10**4, role="local")]})["core0"])
    assert estimate.breakdown["bags l1"] == pytest.approx(1000 * 1.5e-9)


def test_two_tables_slow_each_other_down_in_a_private_cache():
    platform = cached_machine()
    rows = 3 * MIB // 2 // 64
    cost = COST
    alone = only(cost.loads(platform, {CORE: [gather(rows, 20_000.0)]})[CORE])
    together = cost.loads(platform, {CORE: [gather(rows, 20_000.0), gather(rows, 20_000.0, name="u")]})[CORE]
    assert together[0].seconds > 1.2 * alone.seconds
    assert together[0].seconds == pytest.approx(together[1].seconds)


def test_more_active_cores_make_shared_memory_slower():
    platform = cached_machine()
    big = 10 * 2**20
    alone = only(COST.loads(platform, {CORE: [gather(big)]})[CORE])
    both = only(COST.loads(platform, {CORE: [gather(big)], OTHER: [gather(big, name="u")]})[CORE])
    assert both.seconds > 1.3 * alone.seconds


def test_streams_come_from_the_level_that_holds_the_table():
    platform = cached_machine()
    small, big = (Work(streams=(Stream("global", n, f"t{n}"),)) for n in (MIB, 100 * MIB))
    cost = COST
    assert "stream l2" in only(cost.loads(platform, {CORE: [small]})[CORE]).breakdown
    assert "stream ram" in only(cost.loads(platform, {CORE: [big]})[CORE]).breakdown


def test_output_costs_by_where_its_buffer_lives_and_how_it_is_stored():
    platform, cost = cached_machine(), COST
    small = only(cost.loads(platform, {CORE: [Work(written_bytes=1000)]})[CORE])
    assert small.breakdown["output l1"] == pytest.approx(1000 * 1e-11)
    big = Work(written_bytes=200 * MIB)
    past = Work(written_bytes=200 * MIB, tuning=Tuning(stores="stream"))
    in_ram = only(cost.loads(platform, {CORE: [big]})[CORE]).breakdown
    assert in_ram["output ram"] == pytest.approx(200 * MIB * 1e-10)
    streamed = only(cost.loads(platform, {CORE: [past]})[CORE]).breakdown
    assert streamed["output past caches"] == pytest.approx(200 * MIB * 1.2e-10)


def test_vectors_written_in_tiles_pay_for_that_and_not_for_gaps():
    platform = cached_machine()
    columns = (Curve("write", 128, 1, "huge", 3e-11),)
    memories = tuple(replace(m, curves=m.curves + columns) for m in platform.memories)
    platform = replace(platform, memories=memories, factors={"tiles": 1.0})
    work = gather(100, count=10.0, written_bytes=1280, vectors=10.0)
    apart = only(COST.loads(platform, {CORE: [work]})[CORE]).breakdown
    listed = only(COST.loads(platform, {CORE: [replace(work, tuning=Tuning(block=64))]})[CORE]).breakdown
    assert apart["output l1"] == pytest.approx(1280 * 3e-11) and "tiles" not in apart
    assert listed["output l1"] == pytest.approx(1280 * 1e-11)
    assert listed["tiles"] == pytest.approx(10 * 1e-9)


def test_factors_of_the_platform_scale_its_parts():
    factors = {"ids": 0.5, "output l1": 0.25, "setup": 20.0, "handoff": 3.0}
    platform = replace(cached_machine(), factors=factors)
    work = gather(100, written_bytes=1000, ids_bytes=8000)
    parts = only(COST.loads(platform, {CORE: [work]})[CORE]).breakdown
    assert parts["ids"] == pytest.approx(0.5 * 8000 * 1e-10)
    assert parts["output l1"] == pytest.approx(0.25 * 1000 * 1e-11)
    assert parts["setup"] == pytest.approx(1e-6)
    assert parts["task"] == pytest.approx(5e-8)
    both = COST.loads(platform, {CORE: [work], OTHER: [work]})
    assert COST.total(platform, both).breakdown["handoff"] == pytest.approx(3e-6)


def test_few_ids_on_one_core_take_the_short_cut():
    platform = replace(cached_machine(), factors={"setup": 2.0})
    small = gather(100, ids_bytes=800.0)
    alone = only(COST.loads(platform, {CORE: [small]})[CORE])
    beside = COST.loads(platform, {CORE: [small], OTHER: [small]})[CORE][0]
    assert "setup" not in alone.breakdown and beside.breakdown["setup"] == pytest.approx(1e-7)


def test_output_beside_other_cores_columns_is_held_by_shared_caches_only():
    platform = cached_machine()
    beside = only(COST.loads(platform, {CORE: [Work(written_bytes=1000, interleaved=True)]})[CORE])
    assert beside.breakdown["output l3"] == pytest.approx(1000 * 5e-11)


def test_total_is_the_busiest_core_and_the_fixed_costs():
    platform, cost = cached_machine(), COST
    one = cost.loads(platform, {CORE: [gather(100)]})
    two = cost.loads(platform, {CORE: [gather(100)], OTHER: [gather(100, 5000.0, name="u")]})
    assert cost.total(platform, one).seconds == pytest.approx(one[CORE][0].seconds + 1e-6)
    assert cost.total(platform, two).seconds == pytest.approx(two[OTHER][0].seconds + 2e-6)
    assert cost.total(platform, two).seconds == pytest.approx(sum(cost.total(platform, two).breakdown.values()))


def test_curves_are_interpolated_on_logarithmic_scales_and_never_fall_with_cores():
    points = [Curve("gather", 64, 1, "huge", 1e-9), Curve("gather", 256, 1, "huge", 4e-9)]
    points += [Curve("gather", 64, 4, "huge", 0.9e-9), Curve("gather", 256, 4, "huge", 7e-9)]
    speeds = CurveSpeeds(memory_with(*points), "huge")
    assert speeds.gather_s(128, 1, 0.0) == pytest.approx(2e-9)
    assert speeds.gather_s(512, 1, 0.0) == pytest.approx(8e-9)
    assert speeds.gather_s(16, 1, 0.0) == pytest.approx(0.9e-9)
    assert speeds.gather_s(64, 1, 0.0) == speeds.gather_s(64, 4, 0.0) == pytest.approx(0.9e-9)
    assert speeds.gather_s(256, 2, 0.0) == pytest.approx(5e-9)
    assert speeds.gather_s(256, 9, 0.0) == pytest.approx(7e-9)


def test_the_other_page_size_stands_in_where_one_was_not_measured():
    speeds = CurveSpeeds(memory_with(Curve("gather", 64, 1, "4k", 3e-9)), "huge")
    assert speeds.gather_s(64, 1, 0.0) == 3e-9


def test_a_row_that_is_a_vector_of_its_own_costs_what_copying_does():
    points = [Curve("gather", 64, 1, "huge", 1e-9), Curve("copy", 64, 1, "huge", 3e-9)]
    speeds = CurveSpeeds(memory_with(*points), "huge")
    assert [speeds.gather_s(64, 1, alone) for alone in (0.0, 0.5, 1.0, 2.0)] == pytest.approx([1e-9, 2e-9, 3e-9, 3e-9])


def test_roofline_takes_bandwidth_or_latency_whichever_is_more():
    platform = cached_machine()
    estimate = only(RooflineCost().loads(platform, {CORE: [gather(100)]})[CORE])
    assert estimate.breakdown["bags l1"] == pytest.approx(1000 * max(64 * 1e-11, 6e-9 / 10))
    assert estimate.source == "modelled"


def test_a_memory_without_speeds_is_named():
    platform = cached_machine()
    bare = replace(platform, memories=tuple(replace(memory, curves=()) for memory in platform.memories))
    with pytest.raises(UnavailableError, match=r"'ram' has no speed.*recsmith measure"):
        COST.loads(bare, {CORE: [gather(100)]})


def test_no_row_is_dearer_than_a_longer_one():
    speeds = CurveSpeeds(
        memory_with(*(Curve("gather", n, 1, "huge", s) for n, s in ((64, 5e-9), (128, 3e-9), (256, 4e-9)))), "huge"
    )
    assert [speeds.gather_s(n, 1, 0.0) for n in (64, 128, 256)] == pytest.approx([3e-9, 3e-9, 4e-9])


def test_rows_across_lines_cost_the_lines_they_reach():
    speeds = CurveSpeeds(
        memory_with(Curve("gather", 64, 1, "huge", 1e-9), Curve("gather", 128, 1, "huge", 2e-9)), "huge"
    )
    assert speeds.gather_s(68, 1, 0.0) == pytest.approx(2e-9)  # 68 bytes at multiples of four: two lines
    assert speeds.gather_s(32, 1, 0.0) == pytest.approx(1e-9)


def test_decoding_is_what_rows_of_a_type_cost_more_in_the_nearest_memory():
    plain = [Curve(access, n, 1, "huge", n / 64 * 1e-9) for access in ("gather", "copy") for n in (64, 128)]
    int8 = [Curve("gather", 68, 1, "huge", 2.5e-9, dtype="int8"), Curve("copy", 68, 1, "huge", 3e-9, dtype="int8")]
    speeds = CurveSpeeds(memory_with(*plain, *int8), "huge")
    assert speeds.decode_s("int8", 64, 0.0) == pytest.approx(0.5e-9)
    assert speeds.decode_s("int8", 128, 1.0) == pytest.approx(2e-9)
    assert speeds.decode_s("int4", 64, 0.0) == 0  # nobody measured it
    platform = cached_machine()
    encoded = [replace(m, curves=(*m.curves, *plain[2:], *int8)) for m in platform.memories]
    work = Work(requests=(Request("global", 68, 1000.0, Popularity.uniform(10), "t", "int8", 64),))
    estimate = only(COST.loads(replace(platform, memories=tuple(encoded)), {CORE: [work]})[CORE])
    assert estimate.breakdown["decoding"] > 0


def widening(row_bytes=64, cores=1, page="huge", wide_s=8e-9) -> Widening:
    return Widening(row_bytes, cores, page, 1 << 30, 4 << 30, 5e-9, wide_s)


def test_rows_spread_further_than_the_curves_cost_more_by_the_byte_and_not_for_ever():
    speeds = CurveSpeeds(replace(memory_with(), widenings=(widening(),)), "huge")
    narrower, same, twice, far, farther = (speeds.widened_s(64, 1, n * 2.0**30) for n in (0, 1, 2, 16, 1000))
    assert (narrower, same, twice) == pytest.approx((-1e-9, 0.0, 1e-9))
    assert far == farther == pytest.approx(15e-9)
    assert CurveSpeeds(memory_with(), "huge").widened_s(64, 1, 1e12) == 0.0


def test_widening_is_that_of_the_nearest_row_size_and_crew_and_never_a_gain():
    some = (widening(), widening(512, wide_s=6.5e-9), widening(512, 8, wide_s=4e-9), widening(64, 1, "4k", 50e-9))
    speeds = CurveSpeeds(replace(memory_with(), widenings=some), "huge")
    assert speeds.widened_s(100, 1, 4.0 * 2**30) == pytest.approx(3e-9)
    assert speeds.widened_s(400, 2, 4.0 * 2**30) == pytest.approx(1.5e-9)
    assert speeds.widened_s(400, 7, 4.0 * 2**30) == 0.0


def test_a_table_of_many_gigabytes_costs_more_a_row_than_one_of_one():
    machine = cached_machine()
    ram = replace(machine.memory("ram"), widenings=(widening(wide_s=17e-9),))
    machine = replace(machine, memories=tuple(ram if m.id == ram.id else m for m in machine.memories))
    one, four = (only(COST.loads(machine, {CORE: [gather(n << 24)]})[CORE]).breakdown["bags ram"] for n in (1, 4))
    assert four - one == pytest.approx(1000 * 12e-9, rel=0.03)
