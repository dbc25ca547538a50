"""Measuring a GPU, on the emulated one: everything is measured and put where it belongs; its seconds say nothing."""

import pytest
from emulated import device
from msgspec.structs import replace

from recsmith import api
from recsmith.calibration.cuda import measure
from recsmith.calibration.cuda.measure import Footprints, merged
from recsmith.calibration.cuda.probes import Probes, Sizes
from recsmith.platforms import load
from recsmith.platforms.restrict import restrict
from recsmith.spec import Curve, Memory, Platform, UnavailableError

SMALL = Sizes(rows=512, sets=2, nodes=4, rounds=1, copied_bytes=4096, decoders=())
NEAR = Footprints(1 << 16, 1 << 14, 1 << 12, 1 << 12, 1 << 14, written={"hbm": 1 << 12, "l2": 1 << 10})


def here(like="a100", cores=4) -> Platform:
    """A platform of few cores with the emulated device's name."""
    return replace(restrict(load(like), cores), machine=f"{device().name}, sm_80, {cores} SMs")


def test_every_level_is_measured_and_the_profile_says_so():
    steps = []
    found = measure(
        here(),
        device=device(),
        row_bytes=(64, 1024),
        sizes=SMALL,
        footprints=NEAR,
        progress=lambda step, done, total: steps.append((step, done, total)),
    )
    assert found.source == "measured" and found.date and "measure --platform cuda" in found.command
    assert ("memories", 10, 10) in steps and steps[-1] == ("decoders", 1, 1)
    for name in ("hbm", "l2", "sm0/l1", "sm0/shared", "sm0/staging", "host"):
        old, new = here().memory(name), found.memory(name)
        assert new.curves != old.curves
        assert all(curve.seconds >= 0 for curve in new.curves)
    assert {c.access for c in found.memory("hbm").curves} >= {"gather", "copy", "read", "write", "stream_write"}
    assert any("GB/s, back" in note for note in found.notes)
    assert Platform.from_json(found.to_json()) == found


def test_clusters_are_measured_where_there_are_some():
    """Of as many blocks as make a cluster everywhere; how many run at once is the driver's to say."""
    found = measure(here("h200", 6), device=device(), row_bytes=(64,), sizes=SMALL, footprints=NEAR)
    new = {(c.access, c.row_bytes): c for c in found.memory("cluster").curves if c.active_cores == 6}
    old = {(c.access, c.row_bytes): c for c in here("h200", 6).memory("cluster").curves}
    assert new["gather", 64].seconds == new["copy", 64].seconds != old["gather", 64].seconds
    said = dict(each.split("x") for each in set(found.capabilities) - set(here("h200", 6).capabilities))
    assert said.keys() == {"clusters:2", "clusters:4"}
    assert len(found.groups(2)) == min(int(said["clusters:2"]), 3) and len(found.groups(4)) == 1


def test_when_time_is_up_the_rest_stays_modelled_and_a_note_names_it():
    found = measure(here(), device=device(), row_bytes=(64,), sizes=SMALL, footprints=NEAR, budget_s=0.0)
    left = "hbm 64 B, l2 64 B, l1 64 B, shared 64 B, host 64 B"
    assert f"Time was up: modelled remain {left}." in found.notes


def test_another_gpu_is_refused():
    with pytest.raises(UnavailableError, match=r"\[measure\] 'NVIDIA H200, sm_90, 132 SMs' was asked for, and this is"):
        measure(load("h200"), device=device())


def test_without_a_gpu_it_says_so():
    with pytest.raises(UnavailableError):
        api.measure(load("h200"))


def test_measured_points_take_the_place_of_all_at_work_and_bound_those_of_fewer():
    old = (
        Curve("gather", 64, 1, "huge", 2e-9),
        Curve("gather", 64, 4, "huge", 9e-9),
        Curve("gather", 32, 4, "huge", 7e-9),
        Curve("latency", 0, 1, "huge", 5e-7),
    )
    memory = Memory("hbm", None, ("a", "b", "c", "d"), 1, "ram", curves=old)
    found = merged(memory, {"hbm": [Curve("gather", 64, 0, "huge", 1e-9)]}, 4)
    assert set(found) == {
        Curve("gather", 64, 1, "huge", 1e-9),
        Curve("gather", 64, 4, "huge", 1e-9),
        Curve("gather", 32, 4, "huge", 7e-9),
        Curve("latency", 0, 1, "huge", 5e-7),
    }
    private = replace(memory, id="sm0/staging", cores=("a",), curves=(Curve("gather", 64, 1, "huge", 2e-9),))
    (only,) = merged(private, {"shared": [Curve("gather", 64, 0, "huge", 3e-9)]}, 4)
    assert only == Curve("gather", 64, 1, "huge", 3e-9)


def test_rates_are_of_one_multiprocessor_when_all_work(monkeypatch):
    probes = Probes(device(), 4, SMALL)
    monkeypatch.setattr(Probes, "_median", lambda self, do: do() or 1.0)
    assert probes.random_row_s(64, 4096, 1) == pytest.approx(1.0 / 2 * 4 / 512)
    assert probes.write_byte_s(4096) == pytest.approx(1.0 / 4 * 4 / 4096)
    assert probes.bus_bytes_per_s() == (4096.0, 4096.0)
