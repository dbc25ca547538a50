"""Calibration: the arithmetic on made-up timings, and a short measurement of this machine."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_machine import Recorded

from recsmith.calibration.capacity import Step, usable_bytes
from recsmith.calibration.curves import ROW_BYTES, stored_as, unmixed
from recsmith.calibration.ground import Ground
from recsmith.calibration.here import check_here
from recsmith.calibration.levels import crews, levels, like
from recsmith.calibration.measure import least, measure
from recsmith.calibration.trial import quartiles, repeat, undisturbed
from recsmith.platforms import load
from recsmith.platforms.cpu import probe
from recsmith.spec import CapacityError, Curve, Platform, RowFormat, UnavailableError

MB = 1 << 20


def latencies(usable: int, inside: float = 25e-9, outside: float = 120e-9, largest: int = 1 << 30) -> list[Step]:
    """What random loads would take over a cache of `usable` bytes."""
    sizes = [int(4 * MB * 2 ** (i / 2)) for i in range(40)]
    found = [(size, min(1.0, usable / size)) for size in sizes if size <= largest]
    return [Step(size, inside * part + outside * (1 - part)) for size, part in found]


def test_a_curve_measured_in_a_slow_second_does_not_count():
    calm = [Curve("gather", size, 1, "huge", seconds) for size, seconds in ((64, 2e-9), (128, 3e-9))]
    slow = [Curve("gather", size, 1, "huge", seconds) for size, seconds in ((64, 9e-9), (128, 2.9e-9))]
    assert least(slow, calm) == least(calm, slow) == (calm[0], slow[1])


@given(usable=st.integers(12, 200), noise=st.integers(0, 1000))
def test_a_shared_cache_is_sized_by_its_latencies(usable, noise):
    rng = np.random.default_rng(noise)
    steps = [Step(s.footprint_bytes, s.seconds * (1 + 0.05 * rng.random())) for s in latencies(usable * MB)]
    assert usable_bytes(steps, 2 * MB, 480 * MB) == pytest.approx(usable * MB, rel=0.35)


def test_a_cache_is_never_larger_than_reported_nor_smaller_than_the_inner_one():
    assert usable_bytes(latencies(100 * MB), 2 * MB, 32 * MB) == 32 * MB
    assert usable_bytes(latencies(1 * MB), 2 * MB, 32 * MB) >= 2 * MB


def test_flat_latencies_say_nothing_lies_outside():
    steps = [Step(size * MB, 20e-9) for size in (4, 8, 16, 32)]
    assert usable_bytes(steps, 2 * MB, 480 * MB) == 32 * MB
    assert usable_bytes([], 2 * MB, 480 * MB) == 480 * MB


def test_rounds_in_which_others_ran_are_left_out():
    wall = [[1.0, 1.0], [3.0, 1.0], [1.2, 1.2]]
    busy = [[1.0, 0.99], [1.0, 1.0], [1.2, 1.2]]
    assert undisturbed((wall, busy)) == [1.0, 1.2]


def test_trials_repeat_until_the_rounds_agree():
    asked = []

    def noisy(rounds):
        asked.append(rounds)
        seconds = [[1.0 + 0.5 * (i % 2)] for i in range(rounds)]
        return seconds, seconds

    sample = repeat(noisy, 4)
    assert len(asked) == 4 and not sample.steady and sample.rounds == 16
    assert repeat(lambda rounds: ([[2.0]] * rounds, [[2.0]] * rounds), 5).rounds == 5


def test_a_machine_that_is_never_quiet_is_marked():
    sample = repeat(lambda rounds: ([[9.0]] * rounds, [[2.0]] * rounds), 3)
    assert sample.disturbed and sample.median_s == 2.0 and not sample.steady


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=30))
def test_quartiles_are_numpys(values):
    assert quartiles(values) == pytest.approx(tuple(np.quantile(values, [0.25, 0.5, 0.75])))


def test_what_the_inner_level_served_is_taken_out():
    assert unmixed(0.25 * 2 + 0.75 * 10, 2, 0.25) == pytest.approx(10)
    assert unmixed(1.0, 2.0, 0.25) == 2.0


@pytest.mark.parametrize("row_bytes", ROW_BYTES)
def test_measured_rows_have_the_size_they_are_filed_under(row_bytes):
    dtype, dim = stored_as(row_bytes)
    assert RowFormat(dtype).row_bytes(dim) == row_bytes


def test_levels_spread_beyond_the_cache_inside(tmp_path):
    platform = probe(Recorded(tmp_path, smt=2).write())
    l1d, l2, l3, ram = levels(platform, 1 << 30)
    assert l1d.footprint_bytes == 16 << 10 and l1d.inner_share == 0
    assert l2.footprint_bytes == math.isqrt((32 << 10) * MB) // 64 * 64 and l2.private
    assert l3.footprint_bytes == math.isqrt(MB * 32 * MB) // 64 * 64 and not l3.private
    assert ram.footprint_bytes == 1 << 30
    assert l3.inner_share == pytest.approx(MB / l3.footprint_bytes, rel=1e-4)


def test_siblings_do_not_measure_a_private_cache_together(tmp_path):
    platform = probe(Recorded(tmp_path, sockets=2, cores=4, smt=2).write())
    l2, ram = (platform.memory(platform.cores[0].memories[at]) for at in (1, 3))
    assert crews(platform, l2) == ((0,), (0, 1, 2, 3, 4, 5, 6, 7))
    assert [len(crew) for crew in crews(platform, ram)] == [1, 2, 4, 8]
    assert like(platform, ram) == ("node0/ram", "node1/ram")
    assert len(like(platform, l2)) == 8


def test_places_do_not_come_again_soon():
    ground = Ground.take(16 * MB, load("cpu").cores[0].index, ("4k",), 2, 4096)
    first, second = ground.ids(1000, 1 << 20), ground.ids(1000, 1 << 20)
    assert first.min() >= 0 and first.max() < 1 << 20 and not np.array_equal(first, second)
    base = ground.table("4k", 0, 2 * MB, private=True)
    addresses = ground.addresses(base, 1000, 100, 68)
    assert addresses.min() >= base and addresses.max() <= base + 99 * 68
    assert ground.table("4k", 1, 3 * MB, private=True) - base == 4 * MB
    assert ground.table("4k", 1, 3 * MB, private=False) == base
    with pytest.raises(CapacityError, match="too little"):
        ground.table("4k", 7, 3 * MB, private=True)
    with pytest.raises(CapacityError, match="do not fit"):
        ground.out(0, 4097)


def test_another_machine_is_not_measured_here(tmp_path):
    with pytest.raises(UnavailableError, match="Measure on that machine"):
        check_here(probe(Recorded(tmp_path).write()))


def test_a_short_measurement_fills_every_memory_and_survives_json():
    told = []
    platform = measure(
        load("cpu"),
        budget_s=0.5,
        row_bytes=(64,),
        ram_bytes=64 * MB,
        progress=lambda step, done, total: told.append((step, done, total)),
    )
    assert platform.source == "measured" and platform.date and platform.command
    for memory in platform.memories:
        accesses = {curve.access for curve in memory.curves}
        assert accesses == {"reader", "gather", "copy", "read", "write", "stream_write", "latency"}
        assert all(curve.seconds > 0 for curve in memory.curves)
        assert {curve.row_bytes for curve in memory.curves if curve.dtype == "fp32"} == {0, 64, 128, 256, 512}
        assert 0 < memory.capacity_bytes <= memory.reported_bytes
    outermost = platform.memory(platform.cores[0].memories[-1])
    for spread in outermost.widenings:
        assert 2 * spread.narrow_bytes <= spread.wide_bytes <= 4 * spread.narrow_bytes
        assert spread.row_bytes == 64 and spread.narrow_s > 0 and spread.wide_s > 0
    assert bool(outermost.widenings) != any("spread far" in note for note in platform.notes)
    assert told[0][1] == 0 and all(0 <= done <= total for _, done, total in told)
    assert any("modelled" in note for note in platform.notes)
    assert Platform.from_json(platform.to_json()) == platform
