"""What fits is trained, planned and timed, the rest is named with its reason; a killed exploration ends the same."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path as Folder

import numpy as np
import pytest
from msgspec.structs import replace

from recsmith import api
from recsmith.api import Making
from recsmith.cost.computing import Computing
from recsmith.planner.paths import dominates, pareto
from recsmith.spec import (
    Dhe,
    FormatError,
    Hybrid,
    InputError,
    Latency,
    Mlp,
    Model,
    Path,
    Plan,
    Platform,
    Serving,
    UnavailableError,
    UnknownNameError,
    Workload,
)
from recsmith.testing.machines import cached_machine
from recsmith.training.recipe import Recipe, untrained

DATA = "synthetic:criteo_kaggle,samples=3000,cap=2000,seed=3"
RECIPE = Recipe(dim=4, bottom=(16,), top=(16,), batch=32)
SMALL = Dhe(k=8, hidden=(8,), last_activation="none")
CANDIDATES = {
    "table": "table",
    "int8": "int8",
    "dhe": SMALL,
    "dhe@int8": Making(SMALL, dtype="int8"),
    "hybrid": Hybrid(dhe=SMALL),
    "distilled": Making(SMALL, converted=True),
    "distilled@int8": Making(SMALL, converted=True, dtype="int8"),
}
TRAINED = {"dhe", "dhe@int8", "hybrid"}
QUERIES = (1, 64)


def machine(name: str) -> Platform:
    made = cached_machine()
    return replace(made, name=name, cores=tuple(replace(core, flops_per_s=1e11) for core in made.cores))


def path(platform="a", logloss=0.5, nbytes=100, seconds=(1.0, 2.0)) -> Path:
    latencies = tuple(Latency(q, s, s, s, "modelled") for q, s in zip(QUERIES, seconds, strict=True))
    return Path("r", platform, "small", nbytes, 0.8, 0.7, logloss, latencies, "m", "p")


def test_a_path_is_dominated_when_another_is_nowhere_worse():
    assert dominates(path(logloss=0.4), path()) and dominates(path(seconds=(1.0, 1.5)), path())
    assert not dominates(path(), path())
    assert not dominates(path(logloss=0.4, nbytes=101), path())
    assert not dominates(path(seconds=(0.5, 2.1)), path())
    assert not dominates(path("b", 0.1, 1, (0.1, 0.1)), path("a"))


def test_the_pareto_set_keeps_one_of_equals_and_loses_the_dominated():
    better, small, slow = path(logloss=0.4), path(nbytes=50), path(seconds=(3.0, 3.0))
    assert pareto([slow, better, small, path(), path(nbytes=50)]) == (better, small)


def test_computing_is_priced_by_hand():
    model = Model("m", (), (), 2, Mlp((1000, 500), ("relu",), "bottom"), None, Mlp((500, 1), ("sigmoid",), "top"))
    price = Computing(machine("a")).seconds(model, (), Workload("w", 1000, ()))
    assert price.seconds == pytest.approx(2 * 500_500 * 1000 / 2e11) and price.source == "modelled"
    one = Computing(machine("a")).seconds(model, (), Workload("w", 1, ()))
    # 2,002,000 bytes fit in the 2 MiB of l2, which each of two cores reads at 2e-11 s a byte.
    assert one.seconds == pytest.approx(2_002_000 / 2 * 2e-11)


def test_only_rows_that_are_computed_when_asked_for_cost_computing():
    from recsmith.representations import hold

    model = hold(untrained("m", {"a": 5000, "b": 5000}, (), 3, RECIPE), None, SMALL)
    asked = Workload.uniform(model, 4000)
    ways = (Serving("a", "materialise"), Serving("b"))
    parts = Computing(machine("a")).seconds(model, ways, asked).breakdown
    distinct = 5000 * (1 - np.exp(-4000 / 5000))
    assert set(parts) == {"mlps", "rows b"}
    assert parts["rows b"] == pytest.approx(distinct * SMALL.flops(4) / 2e11)


def test_a_platform_of_unknown_speed_is_refused():
    with pytest.raises(UnavailableError, match="flops_per_s"):
        Computing(cached_machine())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("explore") / "run"
    return folder, api.train(DATA, folder, recipe=RECIPE, threads=1, resamples=0)


def explore(trained, target, **changes):
    settings = {
        "memory": {"large": 1_000_000, "small": 60_000},
        "output": target,
        "queries": QUERIES,
        "planner": "symmetric",
        "resamples": 0,
        "steps": 15,
    }
    machines = {name: machine(name) for name in ("large", "small")}
    return api.explore(trained[0], DATA, machines, CANDIDATES, **{**settings, **changes})


@pytest.fixture(scope="module")
def explored(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("explored") / "whole"
    return folder, explore(trained, folder)


def test_every_path_is_there_or_left_out_with_its_reason(explored):
    folder, found = explored
    names = {each.name for each in found.paths}
    assert {"table on large", "int8 on large", "dhe on large", "dhe on large, fast"} <= names
    assert {each.name for each in found.candidates} == {*CANDIDATES} and found.finished
    reasons = {(each.representation, each.platform): each.reason for each in found.left_out}
    assert all("bytes; 60,000 allowed" in reason for (_, platform), reason in reasons.items() if platform == "small")
    for each in found.candidates:
        for label, room in found.rooms.items():
            weighs = [one.nbytes for one in found.paths if (one.representation, one.platform) == (each.name, label)]
            assert all(nbytes <= room for nbytes in weighs)
            assert weighs or (each.name, label) in reasons
    for one in found.paths:
        assert [latency.query for latency in one.latencies] == list(QUERIES)
        assert one.latencies[0].seconds < one.latencies[1].seconds
        model, _ = api.load(folder / one.model)
        ways = {serving.way for serving in Plan.open(folder / one.plan).serving}
        assert model.computes == bool(ways) and (one.way == "small" or "compute" not in ways)
    assert set(found.kept) == {each.name for each in pareto(found.paths)}


def test_candidates_that_differ_in_bits_share_their_training(explored):
    folder, found = explored
    assert (folder / "dhe" / "state.pt").exists() and not (folder / "dhe@int8" / "state.pt").exists()
    made = {each.name: each for each in found.candidates}
    for name in ("dhe", "distilled"):
        whole, small = made[name], made[f"{name}@int8"]
        assert small.nbytes < whole.nbytes and small.quality != whole.quality
        assert small.quality.logloss.value == pytest.approx(whole.quality.logloss.value, abs=0.01)
    (stored,) = {each.model for each in found.paths if each.representation == "dhe@int8"}
    kept = api.load(folder / stored)[0]
    assert {table.format.dtype if table.computed is None else table.computed.dtype for table in kept.tables} == {"int8"}
    assert {table.computed is None for table in kept.tables} == {True, False}


def test_what_fits_nowhere_is_not_trained(trained, tmp_path):
    found = explore(trained, tmp_path / "tight", memory={"large": 40_000, "small": 40_000})
    assert "hybrid" not in {each.name for each in found.candidates}
    assert not (tmp_path / "tight" / "hybrid").exists()
    assert {each.platform for each in found.left_out if each.representation == "hybrid"} == {"large", "small"}


def test_another_question_is_refused_in_the_same_folder(trained, explored):
    with pytest.raises(FormatError, match="other queries"):
        explore(trained, explored[0], queries=(2,))
    with pytest.raises(InputError, match="no platform 'gpu'"):
        explore(trained, explored[0], memory={"gpu": 1})


def test_training_that_stopped_is_said_to_go_on(trained, explored, tmp_path):
    part = explore(trained, tmp_path / "parts", seconds=0.0)
    waiting = {each.representation: each.reason for each in part.left_out if not each.platform}
    assert not part.finished and set(waiting) == TRAINED and "run again" in waiting["dhe"]
    assert "dhe" not in {each.representation for each in part.paths}
    while not part.finished:
        part = explore(trained, tmp_path / "parts", seconds=0.3)
    assert replace(part, folder="") == replace(explored[1], folder="")


SCRIPT = """
import sys
from recsmith.spec import *
sys.path.insert(0, {here!r})
from test_explore import explore
print("ready", flush=True)
explore((sys.argv[1],), sys.argv[2])
"""


def test_killed_at_random_moments_it_ends_the_same(trained, explored, tmp_path):
    target = tmp_path / "killed"
    program = SCRIPT.format(here=str(Folder(__file__).parent))
    draw, kills = np.random.default_rng(), 0
    while not (target / "paths.json").exists():
        with subprocess.Popen(
            [sys.executable, "-c", program, str(trained[0]), str(target)], stdout=subprocess.PIPE
        ) as run:
            run.stdout.readline()
            if kills < 5:
                time.sleep(draw.uniform(0.1, 2.5))
                run.send_signal(signal.SIGKILL)
                kills += 1
            run.wait()
            assert run.returncode in (0, -signal.SIGKILL)
    found = api.Explored.open(target / "paths.json")
    assert replace(found, folder="") == replace(explored[1], folder="")
    for name in ("plans", "paths"):
        ours, theirs = ({p.name: p.read_text() for p in (each / name).iterdir()} for each in (target, explored[0]))
        assert ours == theirs


def test_this_machine_is_measured(trained, tmp_path):
    here = {"here": api.platform("cpu")}
    found = api.explore(trained[0], DATA, here, {"dhe": SMALL}, output=tmp_path, queries=QUERIES, resamples=0)
    for each in found.paths:
        assert {latency.source for latency in each.latencies} == {"measured"}
        assert all(0 < latency.q1_s <= latency.seconds <= latency.q3_s for latency in each.latencies)
    again = api.explore(trained[0], DATA, here, {"dhe": SMALL}, output=tmp_path, queries=QUERIES, resamples=0)
    assert again.paths == found.paths


def test_the_picture_shows_every_path(explored):
    from recsmith.bench.report.paths import drawn

    picture = drawn(explored[1])
    assert picture.startswith("<svg xmlns=")
    assert all(f"{each.name}: logloss" in picture for each in explored[1].paths)


def test_paths_that_share_a_colour_differ_in_shape(explored):
    from recsmith.bench.report.paths import drawn

    _, found = explored
    first = found.paths[0]
    names = [f"candidate {at}" for at in range(9)]
    made = replace(
        found,
        candidates=tuple(replace(found.candidates[0], name=name) for name in names),
        paths=tuple(replace(first, representation=name, way=way) for name in names for way in ("small", "fast")),
    )
    picture = drawn(made)
    assert picture.count('class="e0 mark"') + picture.count('class="e0 pale mark"') > 0
    marks = [part for part in picture.split("<") if "mark" in part and 'class="e0' in part]
    assert {part.split()[0] for part in marks} == {"circle", "rect"}
    assert any("fast" in part for part in marks) and not all("fast" in part for part in marks)


def test_the_command(trained, tmp_path, capsys):
    from recsmith.cli.app import main

    machine("large").save(tmp_path / "large.json")
    (tmp_path / "small.json").write_text(SMALL.to_json())
    named = f"table,{tmp_path}/small.json@int8,converted:mixed_dimension@int4"
    words = [
        "explore",
        str(trained[0]),
        "--data",
        DATA,
        "--platforms",
        str(tmp_path / "large.json"),
        "--queries",
        "1,8",
    ]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--candidates", named, "-o", str(tmp_path / "out"), "--json"])
    told = capsys.readouterr()
    assert not stopped.value.code and "small.json@int8, update" in told.err
    made = {each["name"]: each for each in json.loads(told.out)["candidates"]}
    assert set(made) == set(named.split(",")) and (tmp_path / "out" / "paths.svg").is_file()
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--candidates", "table@int7", "-o", str(tmp_path / "other")])
    assert stopped.value.code == UnknownNameError.exit_code and "wants rows in 'int7'" in capsys.readouterr().err
