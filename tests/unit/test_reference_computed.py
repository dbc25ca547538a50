"""The oracle of computed rows, on numbers worked by hand."""

import math

import numpy as np
import pytest

from recsmith.reference import codes, computed_rows, hash_ids
from recsmith.spec import Dhe, MixedDimension, QuotientRemainder, Table

AB = {"a": np.array([3, 10]), "b": np.array([4, 0])}


def test_hashes_by_hand():
    """p = 11, m = 7: (3x + 4) mod 11 mod 7 and 10x mod 11 mod 7.

    x = 0, 1, 5: first 4, 7 -> 0, 19 -> 8 -> 1; then 0, 10 -> 3, 50 -> 6 -> 6.
    """
    found = hash_ids(Dhe(k=2, prime=11, buckets=7), AB, np.array([0, 1, 5]))
    assert found.tolist() == [[4, 0], [0, 3], [1, 6]]


def test_hashes_do_not_overflow():
    """x = 2^40, a = 2^40, b = 1, p = 2^61 - 1: 2^80 mod (2^61 - 1) = 2^19, then + 1 and mod 1000: 524289 -> 289."""
    dhe = Dhe(k=1, prime=2**61 - 1, buckets=1000)
    assert hash_ids(dhe, {"a": np.array([2**40]), "b": np.array([1])}, np.array([2**40])).tolist() == [[289]]


def test_ids_one_prime_apart_cannot_be_told_apart_with_the_published_prime():
    draw = np.random.default_rng(0)
    parameters = {"a": draw.integers(1, 1_000_003, 64), "b": draw.integers(0, 1_000_003, 64)}
    dhe = Dhe(k=64, prime=1_000_003)
    one, other = hash_ids(dhe, parameters, np.array([17, 17 + 1_000_003]))
    assert (one == other).all()


def test_a_decoder_kept_in_bytes_by_hand():
    """Weights (3, 5) as scale 0.5, bias 3 and codes 0 and 4; code (1/3, -1): 3/3 - 5 + 0.25 = -3.75."""
    kept = np.concatenate([np.array([0.5, 3], np.float16).view(np.uint8), np.array([0, 4], np.uint8)])[None]
    table = Table("t", 11, 1, computed=Dhe(k=2, prime=11, buckets=7, hidden=(), last_activation="none", dtype="int8"))
    assert [parameter.nbytes for parameter in table.parameters] == [16, 16, 6, 4] and table.served_bytes == 44
    parameters = {**AB, "0.weight": kept, "0.bias": np.array([0.25], np.float32)}
    np.testing.assert_allclose(computed_rows(table, parameters, np.array([0])), [[-3.75]], rtol=1e-15)


def test_uniform_codes_by_hand():
    """h = 4, 0 of 7 buckets: 2*4/6 - 1 = 1/3 and -1."""
    found = codes(Dhe(k=2, prime=11, buckets=7), AB, np.array([0]))
    np.testing.assert_allclose(found, [[1 / 3, -1.0]], rtol=1e-15)


def test_gaussian_codes_by_hand():
    """h = 1, 6 of 7: u = 2/7, v = 1: sqrt(-2 ln 2/7) = 1.5829...; its cosine and sine at 2 pi: the radius, and 0."""
    found = codes(Dhe(k=2, prime=11, buckets=7, transform="gaussian"), AB, np.array([5]))
    np.testing.assert_allclose(found, [[math.sqrt(-2 * math.log(2 / 7)), 0.0]], atol=1e-15)


@pytest.mark.parametrize(
    ("last", "wanted"),
    [
        ("none", 2.5),
        ("relu", 2.5),
        ("sigmoid", 1 / (1 + math.exp(-2.5))),
        ("mish", 2.5 * math.tanh(math.log(1 + math.exp(2.5)))),
    ],
)
def test_a_decoder_by_hand(last, wanted):
    """Code (1/3, -1); hidden: relu(3/3 + 1) = 2 and relu(-1) = 0; out: 1 * 2 + 5 * 0 + 0.5 = 2.5."""
    table = Table("t", 11, 1, computed=Dhe(k=2, prime=11, buckets=7, hidden=(2,), last_activation=last))
    parameters = {
        **AB,
        "0.weight": np.array([[3.0, -1.0], [0.0, 1.0]]),
        "0.bias": np.zeros(2),
        "1.weight": np.array([[1.0, 5.0]]),
        "1.bias": np.array([0.5]),
    }
    np.testing.assert_allclose(computed_rows(table, parameters, np.array([0])), [[wanted]], rtol=1e-15)


def test_a_batch_norm_by_hand():
    """One layer, no activation: y = 1/3 - 1 = -2/3; (y - 1) / sqrt(4 + 1e-5) * 3 + 0.25."""
    dhe = Dhe(k=2, prime=11, buckets=7, hidden=(), last_activation="none", batch_norm=True)
    norm = {"weight": 3.0, "bias": 0.25, "mean": 1.0, "variance": 4.0}
    parameters = {
        **AB,
        "0.weight": np.ones((1, 2)),
        "0.bias": np.zeros(1),
        **{f"norm.{name}": np.array([value]) for name, value in norm.items()},
    }
    found = computed_rows(Table("t", 11, 1, computed=dhe), parameters, np.array([0]))
    np.testing.assert_allclose(found, [[(-2 / 3 - 1) / math.sqrt(4.00001) * 3 + 0.25]], rtol=1e-14)


@pytest.mark.parametrize(("combine", "wanted"), [("multiply", [[8.0, 15.0]]), ("add", [[6.0, 8.0]])])
def test_quotient_and_remainder_by_hand(combine, wanted):
    """x = 5, 4 collisions: quotient row 1 = (2, 3), remainder row 1 = (4, 5)."""
    table = Table("t", 7, 2, computed=QuotientRemainder(4, combine))
    parameters = {"quotient": np.array([[9.0, 9], [2, 3]]), "remainder": np.array([[9.0, 9], [4, 5], [9, 9], [9, 9]])}
    assert computed_rows(table, parameters, np.array([5])).tolist() == wanted


def test_mixed_dimension_by_hand():
    """narrow row (1, 2); projection rows (3, 4) and (5, 6): 11 and 17."""
    table = Table("t", 2, 2, computed=MixedDimension(2))
    parameters = {"narrow": np.array([[0.0, 0], [1, 2]]), "projection": np.array([[3.0, 4], [5, 6]])}
    assert computed_rows(table, parameters, np.array([1])).tolist() == [[11.0, 17.0]]
