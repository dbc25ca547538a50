"""Records survive JSON and say what is wrong with bad text."""

from fractions import Fraction

import pytest

from recsmith.spec import (
    Access,
    Bucket,
    FormatError,
    Interval,
    Objective,
    Placement,
    Plan,
    Popularity,
    Shard,
    Stage,
    Workload,
    Zipf,
)


def test_plan_round_trips_with_exact_fractions():
    placement = Placement("f", Shard("t", 0, 5), ("c0",), "gm", Interval(Fraction(1, 3)))
    plan = Plan("problem", "model", "machine", Objective(()), "hand", (Bucket(None, (Stage((placement,)),)),))
    assert Plan.from_json(plan.to_json()) == plan
    assert Plan.from_json(plan.to_json()).digest() == plan.digest()


def test_workload_round_trips_with_its_distribution():
    workload = Workload("w", 128, (Access("f", 2.5, Zipf(1.05)),))
    assert Workload.from_json(workload.to_json()) == workload


def test_digest_differs_for_different_records():
    assert Shard("t", 0, 5).digest() != Shard("t", 0, 6).digest()


def test_bad_json_names_the_field():
    with pytest.raises(FormatError, match=r"\$\.start"):
        Shard.from_json('{"table": "t", "start": "x", "stop": 1}')


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"nowhere\.json"):
        Plan.open(tmp_path / "nowhere.json")


def test_interval_splits_without_gap_or_overlap():
    parts = Interval().split(3)
    assert [list(part.samples(10)) for part in parts] == [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]


@pytest.mark.parametrize("alpha", [0.8, 1.0, 1.05, 1.2])
@pytest.mark.parametrize("rows", [1, 2, 37, 10_000_000])
def test_zipf_classes_cover_all_rows_and_lookups(rows, alpha):
    popularity = Popularity.zipf(rows, alpha)
    assert popularity.rows == rows
    assert sum(group.share for group in popularity.classes) == pytest.approx(1)
    densities = [group.share / group.rows for group in popularity.classes]
    assert densities == sorted(densities, reverse=True)


def test_counts_become_classes():
    popularity = Popularity.from_counts([1] * 1000 + [50] * 3 + [200, 0, 0])
    assert popularity.rows == 1004
    assert sum(group.share for group in popularity.classes) == pytest.approx(1)


def test_distinct_rows_of_a_fixed_stream_is_one():
    assert Popularity.fixed().distinct(1000) == pytest.approx(1)
    assert Popularity.uniform(10).distinct(1000) == pytest.approx(10)
