"""Rows of nearest centroids: exact where they can be, near where codes are, and what they cost in nearness known."""

import numpy as np
import pytest

import recsmith
from recsmith.cost.computing import Computing
from recsmith.executor.centroids import clustered
from recsmith.reference import computed_rows
from recsmith.representations import build, hold
from recsmith.spec import Dhe, Feature, Jagged, Model, PlanError, Serving, Table, Weights, Workload

torch = pytest.importorskip("torch")

SMALL = Dhe(k=64, hidden=(24,), last_activation="none")
ROWS = 300


def bound(way, profile=None, choice=SMALL):
    model = hold(Model("m", (Table("t", ROWS, 6),), (Feature("f", "t"),)), None, choice)
    arrays = build(model.tables[0], 1)
    weights = Weights({}, parameters={f"t.{name}": array for name, array in arrays.items()})
    machine = recsmith.platform("cpu")
    plan = recsmith.plan(model, machine, Workload.uniform(model, 50), serving=[way])
    wanted = computed_rows(model.tables[0], arrays, np.arange(ROWS)) if choice is SMALL else None
    return recsmith.compile(model, plan, weights, platform=machine, profile=profile), wanted


def found(engine, ids):
    return engine.lookup(Jagged(ids, None, len(ids))).pooled


def test_with_a_centroid_for_each_id_rows_are_exact():
    engine, wanted = bound(Serving("t", "centroids", centroids=ROWS))
    with engine:
        np.testing.assert_allclose(found(engine, np.arange(ROWS)), wanted, atol=1e-6)


def test_more_centroids_are_nearer_and_hot_rows_exact():
    errors = []
    profile = {"t": np.random.default_rng(3).permutation(ROWS)}
    for count in (1, 100, 250):
        engine, wanted = bound(Serving("t", "centroids", 20, centroids=count), profile)
        with engine:
            rows = found(engine, np.arange(ROWS))
            hits = engine.counts()["t"]
        np.testing.assert_allclose(rows[profile["t"][:20]], wanted[profile["t"][:20]], atol=1e-6)
        assert hits == (ROWS, 20, ROWS - 20)
        errors.append(np.square(rows - wanted).mean())
    assert errors[0] > errors[1] > errors[2]


def test_the_nearest_centroid_is_the_nearest():
    codes = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (200, 8)).astype(np.float32))
    centers, at = clustered(codes, 5)
    distances = ((codes[:, None] - centers) ** 2).sum(2).numpy()
    np.testing.assert_array_equal(at, distances.argmin(1))
    assert distances[np.arange(200), at].mean() < ((codes[:, None] - codes[:5]) ** 2).sum(2).min(1).values.mean()


@pytest.mark.parametrize(("choice", "count"), [(SMALL, 0), ("quotient_remainder", 4)])
def test_centroids_of_nothing_are_refused(choice, count):
    with pytest.raises(PlanError, match="centroids for table 't'"):
        bound(Serving("t", "centroids", centroids=count), choice=choice)


def test_centroids_are_priced_by_their_product():
    model = hold(Model("m", (Table("t", 100_000, 6),), (Feature("f", "t"),)), None, Dhe(k=64, hidden=(400,)))
    price = Computing(recsmith.platform("cpu"))
    asked = Workload.uniform(model, 4000)
    few, many, exact = (
        price.rows(model, way, asked)
        for way in (Serving("t", "centroids", centroids=10), Serving("t", "centroids", centroids=200), Serving("t"))
    )
    assert few < many < exact
