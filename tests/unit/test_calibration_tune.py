"""Tuning: what is chosen, what is kept, and that an interrupted run goes on."""

from importlib import import_module

import pytest
from msgspec.structs import replace
from recorded_machine import Recorded

from recsmith.calibration import tune
from recsmith.calibration.trial import Sample
from recsmith.calibration.tune import Found, Job, Ledger, choose, interleaved, plan_jobs, with_tunings
from recsmith.platforms import load, restrict
from recsmith.platforms.cpu import probe
from recsmith.spec import Curve, FormatError, Memory, Platform, Tuning, UnavailableError

MB = 1 << 20
SMALL = {"row_bytes": (64,), "batches": (16,), "ram_bytes": 64 * MB}


@pytest.fixture(scope="module")
def profile():
    """This machine with default speeds that pass for measured ones, and a last-level cache that fits the test."""
    platform = restrict(load("cpu"), 1)
    memories = tuple(
        replace(m, capacity_bytes=min(m.capacity_bytes, 16 * MB)) if m.kind == "cache" else m for m in platform.memories
    )
    return replace(platform, source="measured", memories=memories)


class Interrupted(Exception):
    pass


def stop_at(job):
    def progress(step, done, total):
        if done == job:
            raise Interrupted

    return progress


def test_an_interrupted_run_continues_where_it_stopped(profile, tmp_path):
    file = tmp_path / "tuning.json"
    with pytest.raises(Interrupted):
        tune(profile, resume_file=file, progress=stop_at(1), **SMALL)
    kept = Ledger.open(file).found
    assert len(kept) == 1
    with pytest.raises(Interrupted):
        tune(profile, resume_file=file, progress=stop_at(2), **SMALL)
    found = Ledger.open(file).found
    assert found[:1] == kept and len(found) == 2
    assert found[1].job == plan_jobs(profile, (64,), (16,))[1]


@pytest.mark.slow
def test_all_levels_are_tuned_and_survive_json(profile, tmp_path):
    file = tmp_path / "tuning.json"
    tuned = tune(profile, resume_file=file, **SMALL)
    found = Ledger.open(file).found
    assert [f.job for f in found] == list(plan_jobs(profile, (64,), (16,)))
    assert all(memory.tuned for memory in tuned.memories)
    assert f"Tuned: {len(found)} of {len(found)} cases." in tuned.notes[-1]
    assert Platform.from_json(tuned.to_json()) == tuned
    assert tune(profile, resume_file=file, **SMALL) == tuned


def test_without_time_left_the_note_says_how_far_it_came(profile):
    tuned = tune(profile, budget_s=0.0, **SMALL)
    assert tuned.notes[-1].startswith("Tuned: 0 of")
    assert tuned.memories == profile.memories


def test_a_resume_file_of_another_machine_is_refused(profile, tmp_path):
    file = Ledger("some other machine").save(tmp_path / "tuning.json")
    with pytest.raises(FormatError, match="some other machine"):
        tune(profile, resume_file=file, **SMALL)
    file.write_text("{}")
    with pytest.raises(FormatError, match="Ledger"):
        tune(profile, resume_file=file, **SMALL)


def test_unmeasured_profiles_are_refused():
    with pytest.raises(UnavailableError, match="recsmith measure"):
        tune(load("cpu"))


def test_of_equal_tunings_the_one_that_asks_for_less_is_chosen():
    tried = [(Tuning(48, "t1"), 10.0), (Tuning(16, "t0"), 10.1), (Tuning(4, "t0"), 12.0)]
    samples = [(tuning, Sample(seconds, 0.1, 9)) for tuning, seconds in tried]
    assert choose(samples)[0] == Tuning(16, "t0")


def test_a_slow_minute_does_not_decide():
    seconds = {Tuning(8, "t0"): [9.0, 1.0, 1.0], Tuning(16, "t0"): [2.0, 2.0, 2.0]}
    asked = []

    def probe(tuning, rounds):
        asked.append(tuning.prefetch_distance)
        return Sample(seconds[tuning].pop(0), 0.0, rounds)

    timed = interleaved((Tuning(8, "t0"), Tuning(16, "t0")), probe)
    assert asked == [8, 16, 8, 16, 8, 16]
    assert choose(list(timed.items()))[0] == Tuning(8, "t0")


def test_main_memory_is_tuned_first(tmp_path):
    platform = probe(Recorded(tmp_path).write())
    jobs = plan_jobs(platform, (64, 128), (128, 2048))
    assert len(jobs) == len(set(jobs)) == 4 * 2 * 2 * 2 * 2
    assert jobs[0] == Job("node0/ram", "copy", 64, 128, 1, "huge" if "page:huge" in platform.capabilities else "4k")
    assert jobs[-1].memory.endswith("l1d")


def test_tunings_reach_the_curves_of_all_like_memories(tmp_path):
    platform = replace(probe(Recorded(tmp_path).write()), source="measured")
    best = Tuning(48, "nta")
    job = Job("node0/cpu0/c0/l2", "gather", 64, 2048, 1, "4k")
    found = [Found(job, best, 1e-9, 0.0, 2e-9), Found(replace(job, batch=16), Tuning(4, "t0"), 1e-9, 0.0, 1e-9)]
    tuned = with_tunings(platform, found, 10)
    for id in ("node0/cpu0/c0/l2", "node0/cpu0/c3/l2"):
        memory = tuned.memory(id)
        assert memory.tuning("gather", 64, 4096, 1, "4k") == best
        assert memory.tuning("gather", 64, 20, 1, "4k") == Tuning(4, "t0")
        [curve] = [
            c for c in memory.curves if (c.access, c.row_bytes, c.active_cores, c.page) == ("gather", 64, 1, "4k")
        ]
        assert curve.tuning == best
    assert tuned.memory("node0/ram") == platform.memory("node0/ram")
    assert tuned.notes[-1] == "Tuned: 2 of 10 cases. Up to 2.00x over the profile's own tuning."


def test_the_nearest_tuning_is_found_and_none_is_said():
    curves = tuple(Curve("gather", size, 1, "huge", 1e-9, tuning=Tuning(size, "t0")) for size in (64, 512))
    memory = Memory("m", None, (), 1, "ram", curves=curves)
    assert memory.tuning("gather", 100, 128, 2, "4k") == Tuning(64, "t0")
    assert memory.tuning("gather", 400, 128, 2, "huge") == Tuning(512, "t0")
    assert memory.tuning("copy", 64, 128, 1, "huge") is None


def test_the_command_tunes_a_measured_profile_without_measuring_it_again(profile, tmp_path, capsys, monkeypatch):
    from recsmith.cli.app import main

    # No time, no bench: what is looked at is that the profile goes through.
    monkeypatch.setattr(import_module("recsmith.calibration.tune"), "make_bench", lambda *_: None)
    profile.save(tmp_path / "machine.json")
    with pytest.raises(SystemExit) as stop:
        main(
            ["measure", "-p", str(tmp_path / "machine.json"), "--tune", "0s", "-o", str(tmp_path / "tuned.json"), "-q"]
        )
    assert not stop.value.code
    tuned = Platform.open(tmp_path / "tuned.json")
    assert tuned.notes[-1].startswith("Tuned: 0 of") and tuned.memories == profile.memories
