"""The trained module predicts what the float64 oracle predicts, in every representation."""

import numpy as np
import pytest

from recsmith.reference import dlrm, oracle
from recsmith.representations import build, hold
from recsmith.representations.sizing import by_rows, nbytes, varied
from recsmith.spec import Batch, Dhe, Hybrid, Jagged, MixedDimension, QuotientRemainder, Rows, Select, Table
from recsmith.training.recipe import Recipe, untrained

torch = pytest.importorskip("torch")
layers = pytest.importorskip("recsmith.training.layers")
module = pytest.importorskip("recsmith.training.module")

SMALL = Recipe(dim=4, bottom=(5,), top=(6,))
DHE = Dhe(k=8, hidden=(6,), last_activation="none")
CHOICES = {
    "table": Rows(),
    "dhe": DHE,
    "gaussian": Dhe(k=8, hidden=(6, 5), transform="gaussian", hidden_activation="mish"),
    "hybrid": Hybrid(dhe=DHE),
    "select": Select({"b": DHE}),
    "qr": QuotientRemainder(3),
    "qr add": QuotientRemainder(3, "add"),
    "mixed": MixedDimension(2),
}


def made(choice, kind="dot"):
    from msgspec.structs import replace

    plain = untrained("m", {"a": 7, "b": 50, "c": 2}, (), 3, replace(SMALL, interaction=kind))
    model = hold(plain, None, choice)
    weights = module.start(model, 1, {table.name: build(table, at) for at, table in enumerate(model.tables)})
    return model, weights


def bags(draw, batch=9):
    lengths = draw.integers(0, 4, 3 * batch)
    rows = np.repeat([7, 50, 2], batch)
    values = np.concatenate([draw.integers(0, m, n) for m, n in zip(rows, lengths, strict=True)])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Batch(Jagged(values, offsets, batch), draw.normal(size=(batch, 3)).astype(np.float32))


@pytest.mark.parametrize("kind", ["dot", "cat"])
@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES.keys())
def test_log_odds_are_those_of_the_oracle(choice, kind):
    model, weights = made(choice, kind)
    batch = bags(np.random.default_rng(0))
    pooled, _ = oracle.lookup(model, weights, batch.sparse)
    wanted = dlrm.forward(model, weights, batch.dense, pooled)
    found = torch.sigmoid(module.TrainedDlrm(model, weights)(batch)).detach().numpy()
    assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES.keys())
def test_weights_come_back_as_they_went_in(choice):
    model, weights = made(choice)
    back = module.TrainedDlrm(model, weights).weights()
    for kept, found in (
        (weights.tables, back.tables),
        (weights.parameters, back.parameters),
        (weights.dense, back.dense),
    ):
        assert kept.keys() == found.keys()
        assert all(np.array_equal(kept[name], found[name]) and kept[name].dtype == found[name].dtype for name in kept)


@pytest.mark.parametrize("prime", [1_000_003, 2_147_483_647])
def test_codes_kept_computed_and_by_whole_numbers_are_equal(prime):
    table = Table("t", 60_000, 4, computed=Dhe(k=6, prime=prime, hidden=()))
    arrays = build(table, 0)
    ids = torch.tensor([0, 1, 2, 31_337, 59_999])
    a, b = (arrays[name].astype(object) for name in "ab")
    exact = [[((int(a[j]) * int(x) + int(b[j])) % prime) % 1_000_000 for j in range(6)] for x in ids]
    wanted = torch.tensor(exact).double().mul(2 / 999_999).sub(1).float()
    assert torch.equal(layers.DheRows(table, arrays).codes(ids), wanted)
    assert torch.equal(layers.DheRows(table, arrays, keep_codes=True)._codes[ids], wanted)


def test_a_row_that_no_sample_reads_is_left_alone_and_others_move():
    from recsmith.training.loop import optimizers_of

    model, weights = made(Rows())
    trained = module.TrainedDlrm(model, weights)
    (trained(Batch(Jagged(np.array([3, 10, 1]), None, 1), np.ones((1, 3), np.float32))) ** 2).sum().backward()
    for optimizer in optimizers_of(trained, SMALL):
        optimizer.step()
    moved = (trained.weights().tables["b"] != weights.tables["b"]).any(axis=1)
    assert np.flatnonzero(moved).tolist() == [10]


def test_the_dhe_of_the_published_sizes():
    assert by_rows(2_000_000).widths(16) == (1024, 512, 256, 16)
    assert by_rows(100_000).widths(16) == (768, 384, 192, 16) and by_rows(3).k == 256


def test_only_tables_heavier_than_their_dhe_are_replaced():
    plain = untrained("m", {"small": 500, "large": 200_000}, (), 3, Recipe())
    chosen = varied(plain, smaller=True)
    assert list(chosen.features) == ["large"]
    assert nbytes(by_rows(200_000), plain.tables[1]) == hold(plain, None, chosen).table("large").nbytes < 200_000 * 64
