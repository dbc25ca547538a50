"""Logloss, accuracy and AUC on numbers worked by hand, and intervals that cover."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsmith.spec import InputError
from recsmith.training.metrics import auc, correct, losses, paired, quality


def array(*values):
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("scores", "labels", "wanted"),
    [
        ((0.1, 0.4, 0.35, 0.8), (0, 0, 1, 1), 0.75),  # of four pairs, 0.35 is below 0.4
        ((0.2, 0.8), (0, 1), 1.0),
        ((0.8, 0.2), (0, 1), 0.0),
        ((0.5, 0.5, 0.5), (0, 1, 0), 0.5),  # a tie counts half
        ((0.5, 0.5, 0.9), (0, 1, 1), 0.75),
    ],
)
def test_auc_is_the_share_of_pairs_in_the_right_order(scores, labels, wanted):
    assert auc(array(*scores), array(*labels)) == pytest.approx(wanted)


def test_auc_needs_clicks_and_others():
    assert math.isnan(auc(array(0.1, 0.2), array(1, 1)))


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40))
def test_auc_equals_counting_all_pairs(samples):
    scores = np.array([score / 6 for score, _ in samples])
    labels = np.array([float(label) for _, label in samples])
    above = [(a > b) + (a == b) / 2 for a in scores[labels > 0] for b in scores[labels == 0]]
    found = auc(scores, labels)
    assert (math.isnan(found) and not above) or found == pytest.approx(sum(above) / len(above))


def test_logloss_and_accuracy_by_hand():
    found = quality(array(0.8, 0.4, 0.5), array(1, 1, 0), resamples=0)
    assert found.accuracy.value == pytest.approx(1 / 3)  # 0.5 counts as a click
    assert found.logloss.value == pytest.approx(-(math.log(0.8) + math.log(0.4) + math.log(0.5)) / 3, rel=1e-6)
    assert found.clicks == 2 and found.calibration == pytest.approx((1.7 / 3) / (2 / 3))
    assert found.auc.low == found.auc.value == found.auc.high


def test_a_sure_and_wrong_prediction_has_a_finite_loss():
    assert losses(array(0.0), array(1))[0] == pytest.approx(-math.log(1e-7))


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    draw = np.random.default_rng(0)
    covered = 0
    for trial in range(100):
        labels = (draw.random(300) < 0.7).astype(np.float32)
        found = quality(np.full(300, 0.9, np.float32), labels, resamples=200, seed=trial).accuracy
        covered += found.low <= 0.7 <= found.high
    assert 86 <= covered <= 100


def test_a_paired_interval_is_narrower_than_the_difference_of_two():
    draw = np.random.default_rng(1)
    labels = (draw.random(4000) < 0.5).astype(np.float32)
    theirs = np.where(draw.random(4000) < 0.7, labels, 1 - labels)
    ours = np.where(draw.random(4000) < 0.02, labels, theirs)  # right where they are, and now and then where not
    found = paired(ours, theirs, labels, correct)
    assert found.low > 0 and found.high - found.low < 0.02
    assert paired(theirs, theirs, labels, correct).high == 0


def test_predictions_that_are_no_numbers_are_refused():
    with pytest.raises(InputError, match="1 predictions are no numbers"):
        quality(array(0.5, np.nan), array(0, 1))
    with pytest.raises(InputError, match="0 predictions for 0 labels"):
        quality(array(), array())
