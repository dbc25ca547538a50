"""Which computed tables are finished beforehand: in the memory there is, and never worse than it need be."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from recsmith import api
from recsmith.cli.app import main
from recsmith.cost.computing import Computing
from recsmith.data import hot, synthetic, traces
from recsmith.importers import artifact
from recsmith.planner.serving import Option, choose
from recsmith.representations import build, hold
from recsmith.spec import (
    CapacityError,
    Dhe,
    Feature,
    FormatError,
    Jagged,
    Model,
    Plan,
    Popularity,
    PopularityClass,
    Serving,
    Table,
    Uniform,
    Weights,
    Workload,
    Zipf,
)

SMALL = Dhe(k=64, hidden=(32,))
POPULAR = Zipf(1.05)
ROWS = {"small": 400, "large": 60_000}


def model_of(rows=ROWS):
    plain = Model("m", tuple(Table(n, r, 8) for n, r in rows.items()), tuple(Feature(n, n) for n in rows))
    return hold(plain, None, SMALL)


def weights_of(model):
    arrays = {table.name: build(table, at) for at, table in enumerate(model.tables)}
    return Weights({}, parameters={f"{t}.{name}": a for t, own in arrays.items() for name, a in own.items()})


def ways(memory, law=POPULAR):
    model = model_of()
    return {w.table: w for w in api.servings_within(model, api.platform("cpu"), Workload.of(model, 512, law), memory)}


def kept_bytes(found):
    sizes = {"compute": lambda w, t: t.nbytes, "cache": lambda w, t: t.nbytes + w.hot * 32}
    sizes["materialise"] = lambda w, t: t.rows * 32
    return sum(sizes[w.way](w, model_of().table(w.table)) for w in found.values())


def test_more_memory_finishes_more_and_computes_less():
    least = model_of().nbytes
    before = None
    for memory in (least, least + 20_000, least + 200_000, 10_000_000):
        found = ways(memory)
        assert kept_bytes(found) <= memory
        seconds = sum(way.seconds for way in found.values())
        assert before is None or seconds < before
        before = seconds
    assert {way.way for way in found.values()} == {"materialise"} and seconds == 0


def test_caches_are_for_ids_that_repeat():
    memory = model_of().nbytes + 100_000
    assert ways(memory)["large"].way == "cache"
    popular, even = ways(memory)["large"], ways(memory, Uniform())["large"]
    nothing = Computing(api.platform("cpu")).rows(model_of(), Serving("large"), Workload.uniform(model_of(), 512))
    assert popular.seconds < 0.7 * nothing < even.seconds


def test_what_does_not_fit_is_refused_with_the_bytes_needed():
    needed = model_of().nbytes
    assert {way.way for way in ways(needed).values()} == {"compute"}
    with pytest.raises(CapacityError, match=f"{needed:,} bytes at least"):
        ways(needed - 1)


OPTIONS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=5)


@given(st.lists(OPTIONS, min_size=1, max_size=3), st.integers(0, 160))
def test_choices_fit_and_are_the_best_but_for_one_step(tables, room):
    options = {str(at): [Option(Serving(str(at)), n, s) for n, s in each] for at, each in enumerate(tables)}
    every = [each for each in itertools.product(*options.values()) if sum(o.nbytes for o in each) <= room]
    if not every:
        with pytest.raises(CapacityError):
            choose(options, room)
        return
    found = choose(options, room)
    assert sum(each.nbytes for each in found) <= room
    best = min(sum(o.seconds for o in each) for each in every)
    largest = max(max(o.seconds for o in each) - min(o.seconds for o in each) for each in options.values())
    assert best <= sum(each.seconds for each in found) <= best + largest


def test_popularity_beyond_the_hottest_rows():
    law = Popularity((PopularityClass(1, 0.6), PopularityClass(1, 0.2), PopularityClass(2, 0.2)))
    assert law.share(1) == pytest.approx(0.6) and law.share(4) == pytest.approx(1) and law.share(0) == 0
    assert law.distinct(1e9) == pytest.approx(4) and law.distinct(1e9, 1) == pytest.approx(3)
    assert law.distinct(100, 4) == 0
    even = Popularity.uniform(10)
    assert even.distinct(5, 4) == pytest.approx(0.6 * even.distinct(5))


def test_predicted_hits_are_those_of_drawn_ids():
    rows, kept = 50_000, 500
    ids = synthetic.ids(Zipf(1.05), rows, 200_000, np.random.default_rng(1))
    profile = hot.most_asked(synthetic.ids(Zipf(1.05), rows, 1_000_000, np.random.default_rng(2)), rows, kept)
    seen = np.isin(ids, profile)
    assert Zipf(1.05).popularity(rows).share(kept) == pytest.approx(seen.mean(), abs=0.02)
    distinct = np.mean([len(np.unique(part[~np.isin(part, profile)])) for part in np.split(ids, 100)])
    assert Zipf(1.05).popularity(rows).distinct(2000, kept) == pytest.approx(distinct, rel=0.05)


def test_a_profile_names_the_ids_of_cached_tables(tmp_path):
    model = model_of({"a": 50, "b": 60})
    ids = Jagged(np.array([3, 3, 3, 9, 9, 1, 7, 7, 7, 7, 5, 5]), None, 6)
    file = traces.write(tmp_path / "ids.parquet", model, [ids])
    found = hot.hottest(model, [Serving("a", "cache", 2), Serving("b")], file)
    assert {name: each.tolist() for name, each in found.items()} == {"a": [3, 9]}
    assert hot.hottest(model, [], None) is None
    with pytest.raises(FormatError, match="asks for rows 1 to 9; its table has 9"):
        hot.hottest(
            replace(model, tables=(replace(model.tables[0], rows=9), model.tables[1])), [Serving("a", "cache", 2)], file
        )


def test_plan_and_predict_with_a_memory_and_a_profile(tmp_path, capsys):
    pytest.importorskip("torch")
    from recsmith.testing.joined import joined_case

    plain = joined_case(3, features=1, one_hot=True).case.model
    model = hold(replace(plain, tables=(replace(plain.tables[0], rows=50_000),)), None, SMALL)
    draw = np.random.default_rng(5)
    dense = {}
    for part in (model.bottom, model.top):
        dense[f"{part.prefix}.0.weight"] = draw.normal(size=part.widths[::-1]).astype(np.float32)
        dense[f"{part.prefix}.0.bias"] = draw.normal(size=part.widths[1]).astype(np.float32)
    artifact.save(model, Weights({}, dense, parameters=weights_of(model).parameters), tmp_path / "model")
    ids = synthetic.ids(Zipf(1.2), 50_000, 400, draw)
    traces.write(tmp_path / "ids.parquet", model, [Jagged(ids, None, 400)])
    np.savez(tmp_path / "rows.npz", dense=draw.normal(size=(400, 2)).astype(np.float32), f0=ids)
    words = ["plan", str(tmp_path / "model"), "-w", f"trace:{tmp_path / 'ids.parquet'}", "--batch", "400"]
    run([*words, "--memory", f"{model.nbytes + 1000}", "-o", str(tmp_path / "plan.json"), "-q"])
    assert "computed but for hot ids" in capsys.readouterr().out
    assert Plan.open(tmp_path / "plan.json").serving[0].hot > 0
    predict = ["predict", str(tmp_path / "model"), "--input", str(tmp_path / "rows.npz"), "--json"]
    means = []
    for more in ([], ["--plan", str(tmp_path / "plan.json"), "--profile", str(tmp_path / "ids.parquet")]):
        run([*predict, *more])
        means.append(json.loads(capsys.readouterr().out)["mean"])
    assert means[0] == pytest.approx(means[1], abs=1e-6)


def run(words):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert not stopped.value.code
