"""Bad rows, in every format: an error that says where by default; left out and counted when asked."""

import numpy as np
import pytest

from recsmith.data import readers, sources
from recsmith.data.readers import READERS, Tally
from recsmith.data.readers.avazu import FEATURES
from recsmith.data.store import store
from recsmith.spec import Feature, IdMap, InputError, Model, Table

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

NAN, BIG = float("nan"), 2**64


def table_model(names, dense):
    tables = tuple(Table(name, 100, 4) for name in names)
    return Model("m", tables, tuple(Feature(n, n, id_map=IdMap("modulo")) for n in names), dense_inputs=dense)


PLAIN = table_model(("one", "bag"), 2)
CRITEO = table_model([f"C{i + 1}" for i in range(26)], 13)
AVAZU = table_model(FEATURES, 2)
MOVIES = table_model(("user", "item", "gender", "occupation", "zip", "genres"), 3)


def tsv(folder, suffix="tsv"):
    comma = {"tsv": "\t", "csv": ","}[suffix]
    lines = ["label one bag dense.0 dense.1", "1 3 4;5 1 2", "1 3 4;5 nan 2", "0 x 4 1 2", f"0 {BIG} 4 1 2", "0 7"]
    lines += ["0 7 4;y 1 2", "0 7 4 - 2", "0 7 4 inf 2", "huh 7 4 1 2", "0 2 9 1 2"]
    path = folder / f"rows.{suffix}"
    path.write_text("\n".join(line.replace(" ", comma).replace(";", " ") for line in lines) + "\n")
    return path, PLAIN, 8


def npz(folder):
    bags = np.array([[1, 2], [3, 4], [5, 6]])
    np.savez(folder / "rows.npz", one=[1, 2, 3], bag=bags, dense=[[1, 2], [NAN, 1], [3, 4]], label=[1, NAN, 0])
    return folder / "rows.npz", PLAIN, 1


def parquet(folder):
    columns = {
        "label": [1.0, 0.0, None, 1.0, 1.0, 0.0],
        "one": [1, None, 2, 3, 4, 5],
        "bag": [[1], [2], [], [3, None], None, [6]],
        "dense": [[1.0, 2.0]] * 5 + [[1.0, NAN]],
    }
    pq.write_table(pa.table(columns), folder / "rows.parquet")
    return folder / "rows.parquet", PLAIN, 4


def criteo_line(label="1", count="3", category="0000000a"):
    return [label, count, "-2", "", *["0"] * 10, category, "", *["ffffffff"] * 24]


CRITEO_LINES = [
    criteo_line(),
    criteo_line("", "5", ""),
    criteo_line(count="x"),
    criteo_line(count="1.5"),
    criteo_line(category="xyz"),
    criteo_line(category="f" * 16),
    criteo_line()[:20],
    criteo_line("0"),
]


def criteo(folder):
    (folder / "train.txt").write_text("\n".join("\t".join(line) for line in CRITEO_LINES) + "\n")
    return folder / "train.txt", CRITEO, 5


def criteo_parquet(folder):
    names = ["label", *(f"I{i + 1}" for i in range(13)), *(f"C{i + 1}" for i in range(26))]
    lines = [CRITEO_LINES[i] for i in (0, 1, 4, 5, 7)]
    cells = {name: [line[i] or None for line in lines] for i, name in enumerate(names)}
    columns = {n: own if n[0] == "C" else [None if c is None else int(c) for c in own] for n, own in cells.items()}
    pq.write_table(pa.table(columns), folder / "train.parquet")
    return folder / "train.parquet", CRITEO, 2


def avazu(folder):
    header = ["id", "click", "hour", *FEATURES]
    good = ["1", "1", "14102123", "1005", "0", *["1fbe01fe"] * 9, "1", "2", *["7"] * 8]
    bad = [dict(hour="14139923"), dict(hour="14102188"), dict(hour=""), dict(C14="x"), dict(C14=str(BIG))]
    bad += [dict(site_id="wxyz"), dict(click="maybe")]
    lines = [
        header,
        good,
        *([{**dict(zip(header, good, strict=True)), **b}[n] for n in header] for b in bad),
        good[:-1],
    ]
    (folder / "train.csv").write_text("\n".join(map(",".join, [*lines, good])) + "\n")
    return folder / "train.csv", AVAZU, 8


def movielens(folder):
    (folder / "u.user").write_text("1|30|M|artist|12345\n2|40|F|doctor|54321\n")
    (folder / "u.item").write_text("1|T|01-Jan-1990||u|" + "|".join(["1"] * 19) + "\n")
    lines = ["1 1 5 880000000", "1 1 9 880000000", "0 1 3 880000000", "3 1 3 880000000", "1 2 3 880000000"]
    lines += ["1 1 3", "1 1 3.5 880000000", f"1 1 3 {BIG}", "2 1 1 870000000"]
    (folder / "u.data").write_text("\n".join(lines) + "\n")
    return folder / "u.data", MOVIES, 7


MAKERS = {
    "tsv": tsv,
    "csv": lambda folder: tsv(folder, "csv"),
    "npz": npz,
    "parquet": parquet,
    "criteo_tsv": criteo,
    "criteo_parquet": criteo_parquet,
    "avazu": avazu,
    "movielens": movielens,
}
GOOD = {"tsv": 2, "csv": 2, "npz": 2, "parquet": 2, "criteo_tsv": 3, "criteo_parquet": 3, "avazu": 2, "movielens": 2}


def reader_of(kind):
    return "tsv" if kind == "csv" else kind


def test_there_is_a_case_for_every_reader():
    assert {reader_of(kind) for kind in MAKERS} == set(READERS)


@pytest.mark.parametrize("batch", [1, 3, 100])
@pytest.mark.parametrize("kind", MAKERS)
def test_bad_rows_are_left_out_and_counted(kind, batch, tmp_path):
    path, model, bad = MAKERS[kind](tmp_path)
    tally = Tally("skip")
    batches = list(readers.read(path, model, batch, reader=reader_of(kind), tally=tally))
    assert sum(each.sparse.batch for each in batches) == tally.samples == GOOD[kind]
    assert tally.skipped == bad and str(path) in tally.first_bad
    assert all(np.isfinite(each.dense).all() for each in batches)


@pytest.mark.parametrize("kind", MAKERS)
def test_bad_rows_are_errors_that_say_where(kind, tmp_path):
    path, model, _ = MAKERS[kind](tmp_path)
    with pytest.raises(InputError, match=rf"{path.name}.* \(--bad-rows skip\)"):
        list(readers.read(path, model, 8, reader=reader_of(kind)))


def test_empty_cells_of_criteo_are_no_bad_rows_in_parquet_either(tmp_path):
    text, parquet = criteo(tmp_path)[0], criteo_parquet(tmp_path)[0]
    (a,), (b,) = (
        list(readers.labelled(p, CRITEO, 8, reader=r, tally=Tally("skip")))
        for p, r in ((text, "criteo_tsv"), (parquet, "criteo_parquet"))
    )
    assert np.array_equal(a[0].sparse.values, b[0].sparse.values) and np.array_equal(a[0].dense, b[0].dense)
    assert np.array_equal(a[1], b[1], equal_nan=True) and np.isnan(a[1]).tolist() == [False, True, False]


@pytest.mark.parametrize("kind", ["criteo_tsv", "criteo_parquet", "avazu", "movielens"])
def test_training_counts_them_and_bad_labels_besides(kind, tmp_path):
    path, _, bad = MAKERS[kind](tmp_path)
    tally = Tally("skip")
    made = store(sources.parse(f"{kind.partition('_')[0]}:{path}"), tmp_path / "s", holdout=0, tally=tally)
    unlabelled = int(kind.startswith("criteo"))
    assert made.facts.bad_labels == unlabelled and made.facts.bad_rows == bad + unlabelled
    assert made.facts.samples == GOOD[kind] - unlabelled and set(made.labels.tolist()) <= {0.0, 1.0}


def test_text_ids_are_fine_where_a_vocabulary_takes_them(tmp_path):
    feature = Feature("one", "one", id_map=IdMap("vocabulary", "v.txt", "default", 0))
    model = Model("m", PLAIN.tables, (feature, PLAIN.features[1]), dense_inputs=2)
    (tmp_path / "rows.tsv").write_text("one\tbag\tdense.0\tdense.1\nred\t1\t1\t2\nblue\tx\t1\t2\ngreen\t2\t1\t2\n")
    maps = readers.mappers(model, {"v.txt": b"unknown\nred\n"})
    tally = Tally("skip")
    (batch,) = readers.read(tmp_path / "rows.tsv", model, 8, maps=maps, tally=tally)
    assert batch.sparse.values.tolist() == [1, 0, 1, 2] and tally.skipped == 1
    assert tally.unseen == {"one": 1} and "id of 'bag'" in tally.first_bad
