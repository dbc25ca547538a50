"""Sources become stores: every sample once, ids numbered, bad rows and unseen ids counted."""

from itertools import pairwise

import numpy as np
import pytest

from recsmith.data import sources
from recsmith.data.idmaps import Vocabulary
from recsmith.data.readers import Tally
from recsmith.data.store import Store, store
from recsmith.spec import FormatError, InputError


def criteo_rows(*ids, labels=None):
    """Criteo lines whose first category is given and whose others are equal."""
    labels = labels or [str(i % 2) for i in range(len(ids))]
    return ["\t".join([label, *["1"] * 13, each, *["0000000a"] * 25]) for each, label in zip(ids, labels, strict=True)]


def write(folder, lines):
    path = folder / "train.txt"
    path.write_text("\n".join(lines) + "\n")
    return sources.parse(f"criteo:{path}")


def test_ids_are_numbered_from_one_and_unseen_ones_are_row_0(tmp_path):
    source = write(tmp_path, criteo_rows("c", "a", "c", "b", "f", "a"))
    made = store(source, tmp_path / "s", holdout=1 / 3)
    assert made.facts.training == 4 and made.facts.rows[0] == 4 and made.facts.rows[1] == 2
    assert made.ids[0].tolist() == [3, 1, 3, 2, 0, 1]
    assert made.facts.unseen == {"C1": 1}
    known = Vocabulary.open("C1", made.vocabulary("C1"))
    assert known.find(np.array([10, 11, 12, 15])).tolist() == [1, 2, 3, -1]


def test_modulo_needs_no_vocabulary(tmp_path):
    made = store(write(tmp_path, criteo_rows("c", "a", "1f", "b")), tmp_path / "s", modulo=10)
    assert made.facts.vocabularies == () and made.facts.rows == (10,) * 26
    assert made.ids[0].tolist() == [2, 0, 1, 1]


def test_bad_rows_are_errors_or_counted_apart_from_bad_labels(tmp_path):
    lines = criteo_rows("a", "b", "c", "d", labels=["1", "", "7", "0"])
    lines.append("1\t2\t3")
    source = write(tmp_path, lines)
    with pytest.raises(InputError, match="3 cells"):
        store(source, tmp_path / "s")
    made = store(source, tmp_path / "s", holdout=0, tally=Tally("skip"))
    assert made.facts.samples == 2 and made.facts.bad_rows == 3 and made.facts.bad_labels == 2
    assert made.labels.tolist() == [1, 0] and made.ids[0].tolist() == [1, 2]


def test_samples_without_labels_cannot_be_trained_on(tmp_path):
    source = write(tmp_path, [line.partition("\t")[2] for line in criteo_rows("a", "b")])
    with pytest.raises(InputError, match="have no labels"):
        store(source, tmp_path / "s")


def test_a_store_is_made_once_and_anew_when_the_file_changes(tmp_path):
    source = write(tmp_path, criteo_rows("a", "b"))
    store(source, tmp_path / "s")
    (tmp_path / "s" / "mark").touch()
    store(source, tmp_path / "s")
    assert (tmp_path / "s" / "mark").exists()
    changed = store(write(tmp_path, criteo_rows("a", "b", "c")), tmp_path / "s")
    assert changed.facts.samples == 3 and not (tmp_path / "s" / "mark").exists()


def test_a_store_whose_writing_was_interrupted_is_none(tmp_path):
    source = write(tmp_path, criteo_rows("a", "b"))
    store(source, tmp_path / "s")
    (tmp_path / "s" / "samples.json").unlink()
    with pytest.raises(FormatError, match="cannot open"):
        Store.open(tmp_path / "s")
    assert store(source, tmp_path / "s").facts.samples == 2


def test_bags_come_back_as_they_were_in_any_order(tmp_path):
    (tmp_path / "u.user").write_text("1|30|M|artist|12345\n2|40|F|doctor|54321\n")
    flags = [["0"] * 19 for _ in range(3)]
    flags[0][4] = flags[0][7] = flags[2][1] = "1"
    items = [f"{i + 1}|T|01-Jan-1990||u|{'|'.join(own)}" for i, own in enumerate(flags)]
    (tmp_path / "u.item").write_text("\n".join(items) + "\n")
    (tmp_path / "u.data").write_text("1 3 5 300\n2 1 3 100\n1 2 4 200\n")
    made = store(sources.parse(f"movielens:{tmp_path}"), tmp_path / "s", holdout=0)
    assert made.labels.tolist() == [0, 1, 1]  # by time
    batch, labels = made.batch(np.array([2, 0, 1]))
    genres = made.facts.features.index("genres")
    offsets = batch.sparse.offsets[genres * 3 : genres * 3 + 4]
    bags = [batch.sparse.values[a:b].tolist() for a, b in pairwise(offsets)]
    assert bags == [[1], [4, 7], []] and labels.tolist() == [1, 0, 1]


def test_what_is_no_source_says_what_is():
    with pytest.raises(FormatError, match="criteo:PATH"):
        sources.parse("train.txt")
    with pytest.raises(FormatError, match="is no setting"):
        sources.parse("synthetic:criteo_kaggle,rows=3")
