"""Synthetic ids follow their law, stay in their tables, and repeat for a seed."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsmith.data import distributions, synthetic, traces
from recsmith.spec import (
    Access,
    Feature,
    Fixed,
    FormatError,
    InputError,
    Model,
    Popularity,
    Table,
    Uniform,
    Workload,
    Zipf,
)


def model(rows, factors):
    tables = tuple(Table(f"t{i}", r, 4) for i, r in enumerate(rows))
    return Model("m", tables, tuple(Feature(f"f{i}", f"t{i}") for i in range(len(factors))))


def workload(batch, factors, law):
    return Workload("w", batch, tuple(Access(f"f{i}", factor, law) for i, factor in enumerate(factors)))


def bags(ids, feature):
    return ids.offsets[feature * ids.batch : (feature + 1) * ids.batch + 1]


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 2**40), ranks=st.lists(st.integers(0, 2**40), min_size=1, max_size=50, unique=True))
def test_scatter_is_a_bijection(rows, ranks):
    step = synthetic.scatter_step(rows)
    assert np.gcd(step, rows) == 1
    if rows <= 10_000:
        assert len(np.unique(synthetic.scatter(np.arange(rows), rows))) == rows


def test_scatter_sends_neighbours_far_apart():
    placed = synthetic.scatter(np.arange(100), 10_000_000)
    assert np.diff(np.sort(placed)).min() > 1000


@pytest.mark.parametrize("alpha", [0.6, 1.0, 1.0 + 1e-7, 1.05, 1.5])
def test_zipf_masses_are_those_of_the_documented_density(alpha):
    rows, count = 1000, 400_000
    rng = np.random.default_rng(1)
    placed = synthetic.ids(Zipf(alpha), rows, count, rng)
    seen_of_rank = np.bincount(placed, minlength=rows)[synthetic.scatter(np.arange(rows), rows)]
    edges = [1, 2, 5, 20, 100, 400, 1001]
    for low, high in pairwise(edges):
        x = np.linspace(low, high, 20_001)
        mass = np.trapezoid(x**-alpha, x)
        whole = np.logspace(0, np.log10(rows + 1), 200_001)
        expected = mass / np.trapezoid(whole**-alpha, whole)
        got = seen_of_rank[low - 1 : high - 1].sum() / count
        assert got == pytest.approx(expected, abs=5 * np.sqrt(expected / count))


def test_drawn_popularity_agrees_with_the_declared_one():
    rows, count = 100_000, 300_000
    placed = synthetic.ids(Zipf(1.05), rows, count, np.random.default_rng(2))
    assert len(np.unique(placed)) == pytest.approx(Popularity.zipf(rows, 1.05).distinct(count), rel=0.03)


@pytest.mark.parametrize("law", [Uniform(), Zipf(1.05), Zipf(1.0), Fixed()])
def test_one_hot_batches_have_no_offsets_and_stay_in_range(law):
    m = model((1, 7, 1_000_000), (1, 1, 1))
    for ids in synthetic.batches(m, workload(33, (1, 1, 1), law), 5):
        assert ids.offsets is None and ids.batch == 33 and len(ids.values) == 99
        for at, table in enumerate(m.tables):
            part = ids.values[at * 33 : (at + 1) * 33]
            assert part.min() >= 0 and part.max() < table.rows


def test_batches_differ_among_themselves_and_repeat_for_a_seed():
    m, w = model((10_000,), (1,)), workload(64, (1,), Uniform())
    a, b, again = *synthetic.batches(m, w, 2, seed=5), synthetic.batches(m, w, 2, seed=5)
    assert not np.array_equal(a.values, b.values)
    assert np.array_equal(a.values, again[0].values)
    assert not np.array_equal(a.values, synthetic.batches(m, w, 1, seed=6)[0].values)


def test_exact_bags_hold_the_pooling_factor():
    for ids in synthetic.batches(model((50, 60), (3, 1)), workload(4, (3, 1), Uniform()), 3):
        assert np.diff(ids.offsets).tolist() == [3] * 4 + [1] * 4
        assert len(ids.values) == ids.offsets[-1] == 16


def test_a_broken_pooling_factor_is_kept_in_the_mean():
    made = synthetic.batches(model((50,), (2.25,)), workload(40, (2.25,), Uniform()), 2)
    lengths = np.concatenate([np.diff(ids.offsets) for ids in made])
    assert lengths.mean() == 2.25 and set(lengths) == {2, 3}


def test_poisson_lengths_vary_with_the_mean():
    made = synthetic.batches(model((50, 9), (8, 1)), workload(500, (8, 1), Uniform()), 4, lengths="poisson")
    lengths = np.concatenate([np.diff(bags(ids, 0)) for ids in made])
    assert lengths.mean() == pytest.approx(8, rel=0.05) and lengths.std() > 2


def test_a_trace_is_replayed_with_its_bag_lengths(tmp_path):
    m = model((50, 9), (3, 1))
    made = synthetic.batches(m, workload(4, (2.5, 1), Uniform()), 2)
    file = traces.write(tmp_path / "ids.parquet", m, made)
    laws = distributions.parse(f"trace:{file}", ["f0", "f1"])
    again = synthetic.batches(m, Workload("w", 4, tuple(Access(f, 1, law) for f, law in laws.items())), 3)
    for ids, expected in zip(again, [*made, made[0]], strict=True):
        assert np.array_equal(ids.values, expected.values)
        assert np.array_equal(ids.offsets, expected.offsets)
    assert laws["f1"].seen.rows == len(np.unique(np.concatenate([ids.values[-4:] for ids in made])))


def test_a_trace_of_another_model_is_refused(tmp_path):
    m = model((50,), (1,))
    file = traces.write(tmp_path / "t.parquet", m, synthetic.batches(m, workload(40, (1,), Uniform()), 1))
    small = model((5,), (1,))
    w = Workload("w", 4, (Access("f0", 1, distributions.parse(f"trace:{file}", ["f0"])["f0"]),))
    with pytest.raises(InputError, match="has 5"):
        synthetic.batches(small, w, 1)
    with pytest.raises(FormatError, match="no column other"):
        distributions.parse(f"trace:{file}", ["other"])


def test_distributions_as_users_write_them():
    assert distributions.parse("uniform", ["a"]) == {"a": Uniform()}
    assert distributions.parse("fixed", ["a", "b"]) == {"a": Fixed(), "b": Fixed()}
    assert distributions.parse("zipf:1.05", ["a"]) == {"a": Zipf(1.05)}


@pytest.mark.parametrize("text", ["zipf", "zipf:x", "zipf:-1", "zipf:inf", "uniform:3", "trace:", "pareto", ""])
def test_a_distribution_that_is_none_is_refused(text):
    with pytest.raises(FormatError, match=r"zipf:1\.05"):
        distributions.parse(text, ["a"])


def test_a_missing_trace_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"no file .*nowhere\.parquet.*current folder"):
        distributions.parse(f"trace:{tmp_path / 'nowhere.parquet'}", ["a"])
