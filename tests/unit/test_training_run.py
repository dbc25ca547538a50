"""Training ends in an artifact, and a killed run ends in the same one, bit for bit."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from msgspec.structs import replace

from command_line import recsmith
from recsmith import api
from recsmith.representations import build
from recsmith.spec import Dhe, FormatError, Hybrid, InputError, PlanError, Rows, Select, Serving
from recsmith.training import loop
from recsmith.training.recipe import Recipe

torch = pytest.importorskip("torch")

DATA = "synthetic:criteo_kaggle,samples=6000,cap=300,seed=4"
SMALL = Recipe(dim=4, bottom=(16,), top=(16,), batch=32, passes=3, shuffle=1024)
SETTLED = replace(SMALL, decoder_rate=0.05, decay=0.7, average=0.4)
MIXED = Select({"C1": Dhe(k=16, hidden=(8,), last_activation="none"), "C3": Hybrid(dhe=Dhe(k=8, hidden=()))})
SCRIPT = """
import sys
from recsmith import api
from recsmith.spec import Dhe, Hybrid, Rows, Select
from recsmith.training.recipe import Recipe
print("ready", flush=True)
api.train({data!r}, sys.argv[1], {choice!r}, recipe={recipe!r}, threads=1, checkpoint_s=0.05, resamples=0)
"""


def arrays(folder):
    model, weights = api.load(folder / "model")
    return model, {**weights.tables, **weights.parameters, **weights.dense}


def same(one, other):
    (model, ours), (other_model, theirs) = arrays(one), arrays(other)
    return model == other_model and all(np.array_equal(ours[name], theirs[name]) for name in ours)


def train(folder, **changes):
    settings = {"recipe": SMALL, "threads": 1, "resamples": 0} | changes
    return api.train(DATA, folder, MIXED, **settings)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "whole"
    return folder, train(folder, report_steps=50)


def test_training_lowers_the_loss_and_beats_guessing(whole):
    _, done = whole
    assert done.steps == done.total_steps == 3 * -(-5400 // 32)
    assert done.curve[-1].logloss < done.curve[0].logloss
    assert done.quality.auc.value > 0.55 and done.quality.samples == 600


def test_stopping_and_going_on_changes_nothing(whole, tmp_path):
    folder, done = whole
    stops = 0
    while (part := train(tmp_path / "parts", report_steps=50, seconds=0.2)).steps < part.total_steps:
        stops += 1
        assert part.quality is None
    assert stops > 0 and part.curve == done.curve and part.quality == done.quality
    assert same(folder, tmp_path / "parts")
    scores = [np.load(each / "held_back.npy") for each in (folder, tmp_path / "parts")]
    assert np.array_equal(*scores)


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    """A run whose rates fall, the decoders' from another height, and that ends in a mean."""
    folder = tmp_path_factory.mktemp("run") / "settled"
    return folder, train(folder, recipe=SETTLED, report_steps=50)


def test_falling_rates_and_means_survive_a_stop_too(settled, tmp_path):
    folder, done = settled
    while (part := train(tmp_path / "parts", recipe=SETTLED, report_steps=50, seconds=0.2)).steps < part.total_steps:
        pass
    assert part.quality == done.quality and same(folder, tmp_path / "parts")


def test_the_mean_is_of_the_last_moments_and_not_the_last_one(tmp_path):
    torch.manual_seed(0)
    last = train(tmp_path / "last")
    mean = train(tmp_path / "mean", recipe=replace(SMALL, average=0.5))
    assert mean.curve == last.curve and mean.quality.logloss.value != last.quality.logloss.value
    found = torch.load(tmp_path / "mean" / "state.pt", weights_only=True)
    moments = [step for step in range(1, mean.total_steps + 1) if step > mean.total_steps / 2 and step % 50 == 0]
    assert found["averaged"] == len({*moments, mean.total_steps})
    weight = arrays(tmp_path / "mean")[1]["top.0.weight"]
    assert np.array_equal(weight, found["mean"]["top.0.weight"].numpy())
    assert not np.array_equal(weight, found["module"]["top.0.weight"].numpy())
    assert np.array_equal(found["module"]["top.0.weight"].numpy(), arrays(tmp_path / "last")[1]["top.0.weight"])


def test_rates_fall_in_a_straight_line_to_almost_nothing():
    assert [loop.rate_left(step, 10, 0.5) for step in range(10)] == [1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2]
    assert loop.rate_left(9, 10, 0.0) == 1 and loop.rate_left(0, 10, 1.0) == 1


def test_decoders_that_learn_at_no_rate_stay_as_they_were(tmp_path):
    train(tmp_path / "still", recipe=replace(SMALL, decoder_rate=0.0))
    train(tmp_path / "moved")
    model, found = arrays(tmp_path / "still")
    first = build(model.table("C1"), 1000 * SMALL.seed)
    moved = arrays(tmp_path / "moved")[1]
    for name in ("0.weight", "1.bias"):
        assert np.array_equal(found[f"C1.{name}"], first[name])
        assert not np.array_equal(moved[f"C1.{name}"], first[name])
    assert not np.array_equal(found["C2"], build(model.table("C2"), 1000 * SMALL.seed + 1)["rows"])


def test_decoders_can_start_near_zero(tmp_path):
    train(tmp_path / "low", recipe=replace(SMALL, decoder_rate=0.0, decoder_start=0.25))
    model, found = arrays(tmp_path / "low")
    first = build(model.table("C1"), 1000 * SMALL.seed)
    assert np.array_equal(found["C1.0.weight"], first["0.weight"])
    assert np.array_equal(found["C1.1.weight"], first["1.weight"] / 4)
    assert np.array_equal(found["C1.1.bias"], first["1.bias"] / 4)


def test_rows_and_decoders_of_fewer_bits_are_for_afterwards(tmp_path):
    for choice in ("int8", Dhe(k=16, hidden=(8,), dtype="int8")):
        with pytest.raises(PlanError, match="recsmith convert"):
            api.train(DATA, tmp_path / "few", choice, recipe=SMALL)


def test_killed_at_random_moments_it_ends_the_same(whole, tmp_path):
    folder, _ = whole
    target = tmp_path / "killed"
    program = SCRIPT.format(data=DATA, choice=MIXED, recipe=SMALL)
    draw = np.random.default_rng()
    kills = 0
    while not (target / "summary.json").exists():
        with subprocess.Popen([sys.executable, "-c", program, str(target)], stdout=subprocess.PIPE) as run:
            run.stdout.readline()
            if kills < 4:
                time.sleep(draw.uniform(0.1, 2.5))
                run.send_signal(signal.SIGKILL)
                kills += 1
            run.wait()
            assert run.returncode in (0, -signal.SIGKILL)
    assert same(folder, target)


def test_a_folder_with_another_run_is_refused(whole):
    with pytest.raises(FormatError, match="another recipe"):
        train(whole[0], recipe=replace(SMALL, rate=0.2))


def test_the_artifact_evaluates_as_the_module_did(whole):
    folder, done = whole
    module = api.evaluate(folder, DATA, engine="torch", resamples=0, limit=5000)
    assert module.quality.samples == 5000 and 0.5 < module.quality.auc.value < 1
    assert module.table_bytes == done.table_bytes


def test_an_artifact_is_evaluated_as_it_is_computed(whole):
    """Rounding moves the loss, a little."""
    exact, rounded = (
        api.evaluate(whole[0], DATA, precision=precision, resamples=0, limit=3000) for precision in ("fp32", "bf16")
    )
    assert (exact.precision, rounded.precision) == ("fp32", "bf16")
    wanted, found = (each.quality.logloss.value for each in (exact, rounded))
    assert found == pytest.approx(wanted, rel=0.01) and found != wanted
    serving = [Serving(table.name) for table in api.load(whole[0])[0].tables if table.computed is not None]
    for options, problem in (({"engine": "torch"}, "the module computes in fp32"), ({"serving": serving}, "beside")):
        with pytest.raises(InputError, match=problem):
            api.evaluate(whole[0], DATA, precision="bf16", **options)


@pytest.mark.parametrize("dtype", ["fp16", "bf16", "int8", "int4"])
def test_rows_of_fewer_bits_are_the_same_to_both_engines(whole, tmp_path, dtype):
    api.convert(whole[0], tmp_path / dtype, Rows(dtype))
    ours, torchs = (
        api.evaluate(tmp_path / dtype, DATA, engine=engine, resamples=0, limit=3000).quality.logloss.value
        for engine in ("recsmith", "torch")
    )
    assert ours == pytest.approx(torchs, rel=1e-5)


def test_the_commands(capsys, tmp_path):
    small = ("--data", "synthetic:criteo_kaggle,samples=600,cap=20", "--holdout", "0.5", "--batch", "64", "-q")
    code, out, _ = recsmith(capsys, "train", *small, "-o", tmp_path / "run", "--json")
    done = json.loads(out)
    assert code == 0 and done["quality"]["samples"] == 300 and done["steps"] == 5
    code, out, _ = recsmith(
        capsys, "evaluate", tmp_path / "run", "--data", small[1], "--json", "-q", "--resamples", "20"
    )
    both = [json.loads(out)["quality"]]
    code, out, _ = recsmith(capsys, "evaluate", tmp_path / "run", "-d", small[1], "--engine", "torch", "--json", "-q")
    both.append(json.loads(out)["quality"])
    assert both[0]["logloss"]["value"] == pytest.approx(both[1]["logloss"]["value"], rel=1e-5)
    assert both[0]["samples"] == 600
    assert recsmith(capsys, "train", *small, "-o", tmp_path / "run", "--rate", "0.3")[0] == 3
    assert recsmith(capsys, "train", *small, "-o", tmp_path / "other", "-r", "tabel")[0] == 2
    assert recsmith(capsys, "train", "-d", "criteo:nowhere.txt", "-o", tmp_path / "other")[0] == 3
