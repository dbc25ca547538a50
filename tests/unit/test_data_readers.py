"""Files of every kind become the same batches; bad ones say what is wrong and where."""

import gzip
import math
from pathlib import Path

import numpy as np
import pytest

from recsmith.data import idmaps, readers, writers
from recsmith.data.readers import Tally, movielens
from recsmith.spec import Feature, FormatError, IdMap, IdRangeError, InputError, Model, Prediction, Table

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

MODEL = Model(
    "m",
    (Table("a", 10, 4), Table("b", 100, 4)),
    (Feature("one", "a"), Feature("bag", "b")),
    dense_inputs=2,
)
ONE = [3, 0, 9, 5, 5]
BAGS = [[1, 2], [], [99], [4, 4, 4], [7]]
DENSE = np.arange(10, dtype=np.float32).reshape(5, 2)
LABELS = [1, 0, 0, 1, 1]


def as_npz(folder):
    lengths = [len(bag) for bag in BAGS]
    path = folder / "rows.npz"
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = np.array([i for bag in BAGS for i in bag])
    np.savez(path, one=ONE, bag__values=values, bag__offsets=offsets, dense=DENSE, label=LABELS)
    return path


def as_parquet(folder):
    path = folder / "rows.parquet"
    pq.write_table(pa.table({"one": ONE, "bag": BAGS, "dense": DENSE.tolist(), "label": LABELS, "other": ONE}), path)
    return path


def as_text(folder, suffix=".tsv"):
    path = folder / f"rows{suffix}"
    comma = "," if ".csv" in suffix else "\t"
    lines = [comma.join(["label", "one", "bag", "dense.0", "dense.1"])]
    for label, one, bag, dense in zip(LABELS, ONE, BAGS, DENSE, strict=True):
        lines.append(comma.join([str(label), str(one), " ".join(map(str, bag)), *(str(x) for x in dense)]))
    text = "\n".join(lines) + "\n"
    if suffix.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


MAKERS = {
    "npz": as_npz,
    "parquet": as_parquet,
    "tsv": as_text,
    "csv": lambda folder: as_text(folder, ".csv"),
    "tsv.gz": lambda folder: as_text(folder, ".tsv.gz"),
}


@pytest.mark.parametrize("batch", [1, 2, 5, 100])
@pytest.mark.parametrize("kind", MAKERS)
def test_every_format_yields_the_same_samples(kind, batch, tmp_path):
    tally = Tally()
    seen = list(readers.labelled(MAKERS[kind](tmp_path), MODEL, batch, tally=tally))
    assert [part.sparse.batch for part, _ in seen] == [min(batch, 5 - i) for i in range(0, 5, batch)]
    one, bags = [], []
    for part, _ in seen:
        size, ids, offsets = part.sparse.batch, part.sparse.values, part.sparse.offsets
        if offsets is None:
            offsets = np.arange(2 * size + 1)
        assert len(offsets) == 2 * size + 1 and offsets[-1] == len(ids)
        one += ids[:size].tolist()
        bags += [ids[offsets[size + s] : offsets[size + s + 1]].tolist() for s in range(size)]
    assert (one, bags) == (ONE, BAGS)
    assert np.concatenate([part.dense for part, _ in seen]).tolist() == DENSE.tolist()
    assert np.concatenate([labels for _, labels in seen]).tolist() == LABELS
    assert tally.samples == 5


def test_npz_takes_rectangular_bags_and_weights(tmp_path):
    model = Model("m", (Table("a", 10, 4),), (Feature("f", "a", weighted=True),))
    np.savez(tmp_path / "x.npz", f=[[1, 2], [3, 4]], f__weights=[[0.5, 1], [2, 3]])
    (batch,) = readers.read(tmp_path / "x.npz", model, 8)
    assert batch.sparse.offsets.tolist() == [0, 2, 4]
    assert batch.sparse.weights.tolist() == [0.5, 1, 2, 3]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"one": [1, 2], "bag": [1]}, "different numbers of samples"),
        ({"one": [1], "bag__values": [1]}, "no offsets"),
        ({"one": [1], "bag__values": [1, 2], "bag__offsets": [0, 3]}, "do not rise"),
        ({"one": [1, 2], "bag__values": [1, 2], "bag__offsets": [0, 2, 1]}, "do not rise"),
        ({"one": [0.5], "bag": [1], "dense": [[1, 2]]}, "float64"),
        ({"one": [1], "dense": [[1, 2]]}, "lacks feature bag"),
        ({"one": [1], "bag": [1]}, "0 dense inputs"),
        ({"one": [1], "bag": [1], "dense": [[1, 2, 3]]}, "3 dense inputs"),
    ],
)
def test_bad_archives_say_what_is_wrong(arrays, message, tmp_path):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(InputError, match=message):
        list(readers.read(tmp_path / "x.npz", MODEL, 8))


@pytest.mark.parametrize("name", ["x.npz", "x.parquet", "x.tsv.gz"])
def test_files_that_are_not_what_their_name_says(name, tmp_path):
    (tmp_path / name).write_bytes(b"neither of these")
    with pytest.raises(FormatError, match=name):
        list(readers.read(tmp_path / name, MODEL, 8))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"nowhere\.npz"):
        list(readers.read(tmp_path / "nowhere.npz", MODEL, 8))


def test_bad_text_rows_are_errors_or_counted(tmp_path):
    path = as_text(tmp_path)
    path.write_text(path.read_text() + "1\t2\n1\t3\t4\tx\t0\n")
    with pytest.raises(InputError, match=r"rows\.tsv:7: 2 cells"):
        list(readers.read(path, MODEL, 8))
    tally = Tally("skip")
    assert sum(batch.sparse.batch for batch in readers.read(path, MODEL, 2, tally=tally)) == 5
    assert tally.skipped == 2 and "2 cells" in tally.first_bad


def test_null_cells_of_parquet_are_bad_rows(tmp_path):
    pq.write_table(
        pa.table({"one": [1, None, 3], "bag": [[1], [2], None], "dense": [[1.0, 2.0]] * 3}), tmp_path / "x.pq"
    )
    with pytest.raises(InputError, match="row 1: an empty cell"):
        list(readers.read(tmp_path / "x.pq", MODEL, 8))
    tally = Tally("skip")
    (batch,) = readers.read(tmp_path / "x.pq", MODEL, 8, tally=tally)
    assert batch.sparse.batch == 1 and tally.skipped == 2


def criteo_model(rows=1000):
    names = [f"emb.{i}" for i in range(26)]
    tables = tuple(Table(name, rows, 4) for name in names)
    return Model("c", tables, tuple(Feature(n, n, id_map=IdMap("modulo")) for n in names), dense_inputs=13)


def criteo_line(label="1", count="3", category="0000000a"):
    return "\t".join(([label] if label else []) + [count, "-2", ""] + ["0"] * 10 + [category, ""] + ["ffffffff"] * 24)


def test_criteo_rows_are_prepared_as_dlrm_does(tmp_path):
    (tmp_path / "train.txt").write_text(criteo_line() + "\n" + criteo_line("0", "7") + "\n")
    ((batch, labels),) = readers.labelled(tmp_path / "train.txt", criteo_model(), 8)
    ids = batch.sparse.values.reshape(26, 2)
    assert ids[0].tolist() == [10, 10] and ids[1].tolist() == [0, 0]
    assert ids[2].tolist() == [0xFFFFFFFF % 1000] * 2
    assert batch.dense[:, 0].tolist() == pytest.approx([math.log(4), math.log(8)])
    assert batch.dense[:, 1:3].tolist() == [[0, 0], [0, 0]]
    assert labels.tolist() == [1, 0]


def test_criteo_without_labels_and_with_bad_rows(tmp_path):
    (tmp_path / "test.txt").write_text("\n".join([criteo_line(""), "1\t2", criteo_line("", category="xyz")]))
    with pytest.raises(InputError, match=r"test\.txt:2: 2 cells"):
        list(readers.read(tmp_path / "test.txt", criteo_model(), 8))
    tally = Tally("skip")
    ((batch, labels),) = readers.labelled(tmp_path / "test.txt", criteo_model(), 8, tally=tally)
    assert batch.sparse.batch == 1 and labels is None and tally.skipped == 2


def test_criteo_rows_that_lost_their_last_tabs(tmp_path):
    short = "\t".join(criteo_line().split("\t")[:38])
    (tmp_path / "train.txt").write_text(f"{short}\n{criteo_line()}\n")
    ((batch, labels),) = readers.labelled(tmp_path / "train.txt", criteo_model(), 1 << 10)
    assert batch.sparse.values.reshape(26, 2)[23:, 0].tolist() == [0xFFFFFFFF % 1000, 0, 0]
    assert labels.tolist() == [1, 1]


def test_criteo_parquet_equals_criteo_tsv(tmp_path):
    (tmp_path / "train.txt").write_text(criteo_line() + "\n" + criteo_line("0", "7", "") + "\n")
    cells = [line.split("\t") for line in (tmp_path / "train.txt").read_text().splitlines()]
    names = ["label", *(f"I{i + 1}" for i in range(13)), *(f"C{i + 1}" for i in range(26))]
    columns = {name: [row[i] if name[0] == "C" else int(row[i] or 0) for row in cells] for i, name in enumerate(names)}
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    (a,) = readers.read(tmp_path / "train.txt", criteo_model(), 8)
    (b,) = readers.read(tmp_path / "train.parquet", criteo_model(), 8, reader="criteo_parquet")
    assert np.array_equal(a.sparse.values, b.sparse.values) and np.array_equal(a.dense, b.dense)


def test_movielens_reads_the_small_set(shared_data):
    folder = shared_data / "movielens-100k"
    rows = movielens.cardinalities(folder)
    assert (rows["user"], rows["item"], rows["occupation"], rows["gender"]) == (944, 1683, 21, 2)
    model = Model(
        "ml", tuple(Table(n, r, 8) for n, r in rows.items()), tuple(Feature(n, n) for n in rows), dense_inputs=3
    )
    tally, clicks = Tally(), 0.0
    for batch, labels in readers.labelled(folder, model, 4096, tally=tally):
        for at, table in enumerate(model.tables):
            low, high = (
                batch.sparse.offsets[at * batch.sparse.batch],
                batch.sparse.offsets[(at + 1) * batch.sparse.batch],
            )
            assert batch.sparse.values[low:high].max() < table.rows
        assert batch.dense.shape == (batch.sparse.batch, 3) and abs(batch.dense).max() < 2
        clicks += labels.sum()
    assert tally.samples == 100_000 and clicks == 34174 + 21201


def test_criteo_sample_streams(shared_data):
    tally = Tally()
    for batch in readers.read(shared_data / "criteo-1k" / "train.txt", criteo_model(), 128, tally=tally):
        assert batch.sparse.values.max() < 1000 and np.isfinite(batch.dense).all()
    assert tally.samples == 1000


@pytest.fixture
def shared_data():
    import os

    folder = Path(os.environ.get("RECSMITH_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no data sets: set RECSMITH_DATA to a folder with movielens-100k and criteo-1k")
    return folder


def with_vocabulary(tmp_path, lines, policy):
    (tmp_path / "v.txt").write_text("\n".join(lines) + "\n")
    feature = Feature("f", "t", id_map=IdMap("vocabulary", "v.txt", policy, default_row=2))
    return idmaps.mappers(Model("m", (Table("t", 3, 4),), (feature,)), {"v.txt": tmp_path / "v.txt"})["f"]


@pytest.mark.parametrize("lines", [["30", "10", "20"], ["c", "a", "b"]])
def test_vocabularies_map_line_numbers(lines, tmp_path):
    raw = np.array(lines * 2)
    mapped, replaced = with_vocabulary(tmp_path, lines, "error")(raw.astype(np.int64) if lines[0] == "30" else raw)
    assert mapped.tolist() == [0, 1, 2] * 2 and replaced == 0


def test_unseen_ids_meet_their_policy(tmp_path):
    raw = np.array([10, 11, 20, 31])
    lines = ["30", "10", "20"]
    mapped, replaced = with_vocabulary(tmp_path, lines, "default")(raw)
    assert (mapped.tolist(), replaced) == ([1, 2, 2, 2], 2)
    mapped, replaced = with_vocabulary(tmp_path, lines, "wrap")(raw)
    assert (mapped.tolist(), replaced) == ([1, 2, 2, 1], 2)
    with pytest.raises(IdRangeError, match="id 11 of feature 'f'"):
        with_vocabulary(tmp_path, lines, "error")(raw.view())
    mapped, replaced = with_vocabulary(tmp_path, lines, "default")(np.array(["10", "x"]))
    assert (mapped.tolist(), replaced) == ([1, 2], 1)


def test_bad_vocabularies_are_refused(tmp_path):
    with pytest.raises(FormatError, match="twice"):
        with_vocabulary(tmp_path, ["1", "1"], "error")
    with pytest.raises(FormatError, match="4 ids; its table has 3"):
        with_vocabulary(tmp_path, ["1", "2", "3", "4"], "error")
    feature = Feature("f", "t", id_map=IdMap("vocabulary", "v.txt"))
    with pytest.raises(FormatError, match="needs its vocabulary"):
        idmaps.mappers(Model("m", (Table("t", 3, 4),), (feature,)))


def test_text_without_vocabulary_is_an_error():
    mapper = idmaps.mappers(Model("m", (Table("t", 3, 4),), (Feature("f", "t"),)))["f"]
    with pytest.raises(InputError, match="no numbers"):
        mapper(np.array(["a"]))


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".npz"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_predictions_are_written_in_order(suffix, outputs, tmp_path):
    whole = np.random.default_rng(0).random((7, outputs), dtype=np.float32)
    if outputs == 1:
        whole = whole[:, 0]
    path = tmp_path / f"out{suffix}"
    assert writers.write(path, (Prediction(part) for part in (whole[:4], whole[4:]))) == 7
    names = ["prediction"] if outputs == 1 else ["prediction.0", "prediction.1"]
    if suffix == ".npz":
        back = np.load(path)["prediction"].reshape(7, outputs)
    elif suffix == ".parquet":
        table = pq.read_table(path)
        back = np.stack([table.column(name).to_numpy() for name in names], 1)
    else:
        lines = path.read_text().split()
        assert lines[0] == ",".join(names)
        back = np.array([[float(x) for x in line.split(",")] for line in lines[1:]], dtype=np.float32)
    assert np.array_equal(back, whole.reshape(7, outputs))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".npz"])
def test_no_predictions_make_an_empty_file(suffix, tmp_path):
    assert writers.write(tmp_path / f"x{suffix}", []) == 0
    assert (tmp_path / f"x{suffix}").exists()


def test_a_failed_run_leaves_the_old_file(tmp_path):
    def fails():
        yield Prediction(np.ones(2, np.float32))
        raise InputError("read", "broken")

    (tmp_path / "x.csv").write_text("old")
    with pytest.raises(InputError):
        writers.write(tmp_path / "x.csv", fails())
    assert (tmp_path / "x.csv").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_an_unknown_ending_is_refused(tmp_path):
    with pytest.raises(FormatError, match=r"\.npz"):
        writers.write(tmp_path / "x.txt", [])
