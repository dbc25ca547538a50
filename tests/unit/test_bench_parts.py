"""Parts of the look-up benchmark that need no rival: tables, expectations, pools, rounds, records."""

import json
import os
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import recsmith
from recsmith.bench import expected, process, records, rounds
from recsmith.bench.engine import NoSettings
from recsmith.bench.peers import slices
from recsmith.bench.tables import SharedTables
from recsmith.data import shapes, synthetic
from recsmith.reference import decode, lookup
from recsmith.spec import Feature, Jagged, Model, RowFormat, Table, Uniform, Weights, Workload
from recsmith.spec.workload import Access


def model(dtype="fp32"):
    tables = (Table("a", 50, 4, RowFormat(dtype)), Table("b", 7, 8, RowFormat(dtype)))
    return Model("m", tables, (Feature("x", "a"), Feature("y", "b"), Feature("z", "a")))


def batch_of(m, factors=(1, 3, 2), batch=5):
    accesses = tuple(Access(f.name, factor, Uniform()) for f, factor in zip(m.features, factors, strict=True))
    return synthetic.batches(m, Workload("w", batch, accesses), 1, lengths="poisson")[0]


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", "int8", "int4"])
@pytest.mark.parametrize("pages", ["4k", "huge"])
def test_tables_lie_in_one_buffer_and_hold_usable_numbers(dtype, pages):
    m = model(dtype)
    shared = SharedTables(m, pages)
    assert shared.buffer.nbytes == m.nbytes
    start = shared.buffer.ctypes.data
    for table in m.tables:
        assert shared.tables[table.name].ctypes.data == start
        start += table.nbytes
        values = decode(shared.tables[table.name], table)
        assert values.shape == (table.rows, table.dim)
        assert np.abs(values).max() <= 1.1 and np.abs(values).mean() > 0.2


def test_huge_pages_are_seen_in_the_system_and_4k_are_not():
    m = Model("m", (Table("a", 100_000, 64),), (Feature("x", "a"),))
    assert SharedTables(m, "4k").huge_share == 0
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not setting.exists() or "[never]" in setting.read_text():
        pytest.skip("the system gives no huge pages")
    assert SharedTables(m, "huge").huge_share > 0.5


@pytest.mark.parametrize("dtype", ["fp32", "int8"])
def test_expectations_agree_with_the_oracle(dtype):
    m = model(dtype)
    shared = SharedTables(m, "4k")
    for ids in (batch_of(m), Jagged(np.array([0, 49, 6, 0, 1, 2]), None, 2)):
        wanted, _ = lookup(m, Weights(shared.tables), ids)
        assert expected.pooled(m, shared.tables, ids) == pytest.approx(wanted)


def test_disagreement_is_put_in_words():
    good = np.ones((2, 3))
    assert expected.disagreement(good, good) == ""
    assert "shape [2, 2]" in expected.disagreement(good[:, :2], good)
    assert "off by" in expected.disagreement(good + 1e-4, good)
    assert "off by nan" in expected.disagreement(good * np.nan, good)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_slices_of_a_batch_look_up_the_same(parts):
    m = model()
    shared = SharedTables(m, "4k")
    ids = batch_of(m)
    whole = expected.pooled(m, shared.tables, ids)
    cut = slices.cut(ids, parts, len(m.features))
    assert sum(part.batch for part in cut) == ids.batch
    assert np.concatenate([expected.pooled(m, shared.tables, part) for part in cut]) == pytest.approx(whole)


def test_slices_run_on_waiting_threads_and_pass_errors_on():
    def work(item):
        if item == "bad":
            raise ValueError("bad item")
        return item * 2

    pool = slices.Slices(3, work, lambda: None)
    assert pool([1, 2, 3]) == [2, 4, 6]
    with pytest.raises(ValueError, match="bad item"):
        pool([1, "bad", 3])
    assert pool([4, 5, 6]) == [8, 10, 12]
    pool.close()


class Sleeper(NoSettings):
    """An engine that takes note of what it is given."""

    name, version, settings, op_based = "sleeper", "0", "", False

    def __init__(self):
        self.seen = []

    def prepare(self, ids):
        return ids

    def call(self, prepared):
        self.seen.append(prepared)


def test_every_call_gets_a_batch_of_its_own_in_turns(monkeypatch):
    monkeypatch.setattr(process, "waited_s", lambda: 0.0)
    pool = rounds.Pool(list(range(100)))
    first, second = Sleeper(), Sleeper()
    samplers = {"a": rounds.Sampler(first, pool, 2), "b": rounds.Sampler(second, pool, 3)}
    found = rounds.interleaved(samplers, 4)
    assert {name: len(seconds) for name, seconds in found.items()} == {"a": 4, "b": 4}
    seen = {calls: 4 * (calls + rounds.warm_up_calls(calls)) for calls in (2, 3)}
    assert (len(first.seen), len(second.seen)) == (seen[2], seen[3])
    assert sorted(first.seen + second.seen) == list(range(pool.used))
    assert pool.used == seen[2] + seen[3]
    # Orders alternate: b begins the second round.
    assert min(second.seen[5:10]) < min(first.seen[4:8])


def test_a_disturbed_sample_is_taken_again(monkeypatch):
    waits = iter([0, 0, 0, 9e9, 9e9, 9e9, 9e9, 9e9])
    monkeypatch.setattr(process, "waited_s", lambda: next(waits))
    sampler = rounds.Sampler(Sleeper(), rounds.Pool(list(range(100))), 2)
    assert sampler() < 1e-3 and sampler.disturbed == 0
    assert next(waits, None) is None


def test_a_machine_that_is_never_quiet_is_told_of(monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(process, "waited_s", lambda: next(clock))
    sampler = rounds.Sampler(Sleeper(), rounds.Pool(list(range(100))), 2)
    sampler()
    assert sampler.disturbed == 1


def test_waiting_for_a_processor_is_seen():
    assert process.waited_s() >= 0


def test_a_sample_is_as_long_as_asked_for():
    class Slow(Sleeper):
        def call(self, prepared):
            time.sleep(2e-4)

    calls = rounds.calls_per_sample(Slow(), rounds.Pool(list(range(10))), 4e-3)
    assert 4 <= calls <= 20
    assert rounds.calls_per_sample(Sleeper(), rounds.Pool(list(range(10))), 1e-4) > 100


def test_quartiles_are_interpolated():
    seen = rounds.measurement([4.0, 1.0, 3.0, 2.0, 5.0])
    assert (seen.q1_s, seen.seconds, seen.q3_s, seen.runs) == (2.0, 3.0, 4.0, 5)
    assert rounds.quantile([1.0, 2.0], 0.5) == 1.5


def test_pinning_is_undone():
    before = os.sched_getaffinity(0)
    with process.Pins(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_threads_that_a_pinned_caller_starts_are_moved_away():
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor")
    stop, there = threading.Event(), []
    with process.Pins(2) as pins:
        thread = threading.Thread(target=stop.wait)
        thread.start()
        there.append(os.sched_getaffinity(thread.native_id))
        pins.apply()
        there.append(os.sched_getaffinity(thread.native_id))
        stop.set()
        thread.join()
    assert there[0] == os.sched_getaffinity(0).intersection(there[0]) and not there[0] & there[1]


def test_records_are_one_line_each(tmp_path):
    run = records.Run("c", records.now(), "m", 1)
    path = records.append(tmp_path / "deep" / "x.jsonl", run)
    records.append(path, run)
    lines = path.read_text().splitlines()
    assert len(lines) == 2 and json.loads(lines[0])["machine"] == "m"
    assert records.Run.from_json(lines[1]) == run


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of one commit with `records` in it, and a function that runs git there."""
    package = tmp_path / "src" / "recsmith"
    (package / "bench").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    for name in ("src/recsmith/bench/records.py", "src/recsmith/other.py", "benchmarks/results/x.jsonl"):
        (tmp_path / name).write_text("first")
    monkeypatch.setattr(records, "__file__", str(package / "bench" / "records.py"))

    def git(*arguments):
        who = ("-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    return tmp_path, git


def test_a_commit_is_named_and_what_differs_from_it(checkout):
    folder, git = checkout
    git("add", ".")
    git("commit", "-q", "-m", "m")
    head = git("rev-parse", "--short=12", "HEAD")
    assert records.commit() == head
    (folder / "benchmarks" / "results" / "x.jsonl").write_text("another result")
    assert records.commit() == head
    (folder / "src" / "recsmith" / "other.py").write_text("changed")
    assert records.commit() == head + "+"


def test_a_copy_outside_a_checkout_is_named_by_its_sources(checkout):
    folder, _ = checkout
    package = folder / "src" / "recsmith"
    assert records.commit() == f"v{recsmith.__version__} sources {records.sources(package)}"
    before = records.sources(package)
    (package / "notes.txt").write_text("no source")
    assert records.sources(package) == before
    (package / "other.py").write_text("changed")
    changed = records.sources(package)
    (package / "other.py").rename(package / "renamed.py")
    assert len({before, changed, records.sources(package)}) == 3


def test_shape_of_84_tables_fits_its_name():
    assert shapes.shape("small84_25mb").model.nbytes == pytest.approx(25e6, rel=1e-3)
