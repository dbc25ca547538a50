"""The teacher's clicks follow the law that its docstring states."""

import numpy as np
import pytest

from recsmith.data.teacher import BLOCK, Teacher


def logits(teacher, rows, effects, weight):
    """The equation of the module's docstring, sample by sample and pair by pair."""
    names = list(rows.columns)
    found = []
    for sample in range(len(rows)):
        own = [effects[f][rows.columns[name].values[sample]].astype(float) for f, name in enumerate(names)]
        pairs = sum(own[f][1:] @ own[g][1:] for f in range(len(own)) for g in range(f + 1, len(own)))
        count = len(own)
        found.append(
            teacher.bias
            + teacher.main * sum(each[0] for each in own) / np.sqrt(count)
            + teacher.pairs * pairs / np.sqrt(teacher.latent * count * (count - 1) / 2)
            + teacher.counts * (rows.dense[sample] @ weight) / np.sqrt(teacher.dense_inputs)
        )
    return np.array(found)


def test_the_log_odds_are_those_of_the_equation():
    teacher = Teacher(("a", "b", "c"), (5, 70, 900), 40, seed=3, dense_inputs=2)
    effects = [teacher._effects(f) for f in range(3)]
    rows, z = teacher._block(0, effects)
    weight = np.random.Generator(np.random.SFC64([3, 4])).standard_normal(2)
    assert z == pytest.approx(logits(teacher, rows, effects, weight))


def test_labels_are_drawn_with_the_stated_probability():
    teacher = Teacher(("a", "b"), (3, 4), BLOCK, seed=1)
    rows, z = teacher._block(0, [teacher._effects(f) for f in range(2)])
    likely = 1 / (1 + np.exp(-z))
    for low in (0.1, 0.3, 0.5):
        chosen = (likely > low) & (likely < low + 0.1)
        noise = 4 * np.sqrt(0.25 / chosen.sum())
        assert abs(rows.labels[chosen].mean() - likely[chosen].mean()) < noise


def test_equal_seeds_draw_equal_samples_and_others_do_not():
    one, same, other = (Teacher(("a",), (1000,), 100, seed=seed) for seed in (1, 1, 2))
    ids = [next(t.blocks()).columns["a"].values.tolist() for t in (one, same, other)]
    assert ids[0] == ids[1] != ids[2]


def test_blocks_hold_all_samples_and_the_last_may_be_smaller():
    teacher = Teacher(("a",), (10,), BLOCK + 7)
    assert [len(rows) for rows in teacher.blocks()] == [BLOCK, 7]


def test_no_constant_guess_is_better_than_the_teacher():
    teacher = Teacher(("a", "b"), (50, 60), 20_000, seed=5)
    rate = np.concatenate([rows.labels for rows in teacher.blocks()]).mean()
    guess = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    assert teacher.best_logloss(0, 20_000) < guess
