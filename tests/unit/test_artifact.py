"""The artifact: round trip, memory map, and a clear error for every way it can be broken."""

import json
import os
import time
from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest
import safetensors.numpy

from recsmith.importers import artifact, tensor_file
from recsmith.importers.check import count_nonfinite, refuse_nonfinite
from recsmith.reference import encode
from recsmith.spec import (
    CheckpointError,
    Feature,
    FormatError,
    Graph,
    IdMap,
    Interaction,
    Mlp,
    Model,
    RowFormat,
    Table,
    Weights,
)

FORMATS = ("fp32", "fp16", "bf16", "int8", "int4")


def model_of(formats=FORMATS):
    tables = tuple(Table(name, 5 + at, 3, RowFormat(name)) for at, name in enumerate(formats))
    width = 3 * len(tables)
    return Model(
        "m",
        tables,
        tuple(Feature(f"f_{table.name}", table.name) for table in tables),
        dense_inputs=2,
        bottom=Mlp((2, 3), ("relu",), "bottom"),
        interaction=Interaction("cat"),
        top=Mlp((3 + width, 1), ("sigmoid",), "top"),
    )


def weights_of(model, seed=0):
    rng = np.random.default_rng(seed)
    tables = {t.name: encode(rng.normal(size=(t.rows, t.dim)), t.format) for t in model.tables}
    dense = {}
    for part in (model.bottom, model.top):
        for layer, (a, b) in enumerate(pairwise(part.widths)):
            dense[f"{part.prefix}.{layer}.weight"] = rng.normal(size=(b, a)).astype(np.float32)
            dense[f"{part.prefix}.{layer}.bias"] = rng.normal(size=b).astype(np.float32)
    return Weights(tables, dense)


@pytest.fixture
def saved(tmp_path):
    model = model_of()
    weights = weights_of(model)
    artifact.save(model, weights, tmp_path / "a")
    return model, weights, tmp_path / "a"


def shard(folder):
    (found,) = folder.glob("tables-*.safetensors")
    return found


def rewrite_header(path, change):
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    replaced = change(header)
    text = json.dumps(replaced if isinstance(replaced, list) else header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])


def test_all_formats_round_trip_bit_for_bit(saved):
    model, weights, folder = saved
    opened, read = artifact.open(folder)
    assert opened == model
    for table in model.tables:
        np.testing.assert_array_equal(read.tables[table.name], weights.tables[table.name])
        assert read.tables[table.name].dtype == weights.tables[table.name].dtype
    for name, array in weights.dense.items():
        np.testing.assert_array_equal(read.dense[name], array)


@pytest.mark.parametrize("shard_bytes", [1, 100, 1 << 30])
def test_shards_of_any_size_hold_every_table(tmp_path, shard_bytes):
    model = model_of()
    weights = weights_of(model)
    steps = []
    artifact.save(model, weights, tmp_path / "a", lambda *step: steps.append(step), shard_bytes=shard_bytes)
    assert len(list((tmp_path / "a").glob("tables-*"))) == {1: 5, 100: 3, 1 << 30: 1}[shard_bytes]
    assert steps[-1] == ("write tables", model.nbytes, model.nbytes)
    _, read = artifact.open(tmp_path / "a")
    assert {name: array.tobytes() for name, array in read.tables.items()} == {
        name: array.tobytes() for name, array in weights.tables.items()
    }


def test_arrays_are_read_only_maps_of_the_file(saved):
    _, _, folder = saved
    _, read = artifact.open(folder)
    array = read.tables["fp32"]
    assert not array.flags.writeable and not array.flags.owndata and array.flags.aligned
    base = array
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_the_safetensors_package_reads_our_files_and_we_read_its(saved, tmp_path):
    _, weights, folder = saved
    theirs = safetensors.numpy.load_file(folder / "dense.safetensors")
    for name, array in weights.dense.items():
        np.testing.assert_array_equal(theirs[name], array)
    safetensors.numpy.save_file(dict(weights.dense), tmp_path / "theirs.safetensors", {"format": "pt"})
    ours = tensor_file.read(tmp_path / "theirs.safetensors")
    for name, array in weights.dense.items():
        np.testing.assert_array_equal(ours[name].array, array)


def test_saving_over_the_artifact_the_weights_are_mapped_from(saved):
    model, weights, folder = saved
    _, mapped = artifact.open(folder)
    artifact.save(model, mapped, folder, shard_bytes=1)
    _, read = artifact.open(folder)
    assert len(list(folder.glob("tables-*"))) == 5
    for name, array in weights.tables.items():
        np.testing.assert_array_equal(read.tables[name], array)
        np.testing.assert_array_equal(mapped.tables[name], array)


def test_files_travel_with_the_model(tmp_path):
    model = msgspec.structs.replace(model_of(("fp32",)), graph=Graph("dense.pt2"))
    feature = msgspec.structs.replace(model.features[0], id_map=IdMap("vocabulary", "words.parquet"))
    model = msgspec.structs.replace(model, features=(feature,))
    (tmp_path / "v").write_bytes(b"vocabulary")
    weights = replace(weights_of(model), files={"dense.pt2": b"graph", "words.parquet": tmp_path / "v"})
    artifact.save(model, weights, tmp_path / "a")
    _, read = artifact.open(tmp_path / "a")
    assert {name: path.read_bytes() for name, path in read.files.items()} == {
        "dense.pt2": b"graph",
        "words.parquet": b"vocabulary",
    }
    (tmp_path / "a" / "dense.pt2").unlink()
    with pytest.raises(FormatError, match=r"dense\.pt2.*missing"):
        artifact.open(tmp_path / "a")


def test_the_card_names_every_table(saved):
    _, _, folder = saved
    card = (folder / "README.md").read_text()
    assert all(name in card for name in FORMATS) and "cat" in card


def test_opening_two_gigabytes_takes_under_a_second(tmp_path):
    model = Model("big", (Table("t", 8 << 20, 64),), (Feature("f", "t"),))
    small = Model("big", (Table("t", 2, 64),), (Feature("f", "t"),))
    artifact.save(small, Weights({"t": np.ones((2, 64), np.float32)}), tmp_path / "a")
    model.save(tmp_path / "a" / "model.json")
    header = json.dumps({"t": {"dtype": "F32", "shape": [8 << 20, 64], "data_offsets": [0, 2 << 30]}}).encode()
    with shard(tmp_path / "a").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        # A sparse file: two gigabytes of length, no disk.
        os.truncate(file.fileno(), 8 + len(header) + (2 << 30))
    start_s = time.perf_counter()
    _, read = artifact.open(tmp_path / "a")
    assert read.tables["t"][-1].sum() == 0
    assert time.perf_counter() - start_s < 1


@pytest.mark.parametrize("keep_bytes", [0, 4, 8, 40, -1])
def test_a_truncated_shard_is_named(saved, keep_bytes):
    _, _, folder = saved
    path = shard(folder)
    path.write_bytes(path.read_bytes()[:keep_bytes])
    with pytest.raises(FormatError, match=rf"{path.name}.*truncated"):
        artifact.open(folder)


def test_foreign_bytes_after_the_tensors(saved):
    _, _, folder = saved
    with shard(folder).open("ab") as file:
        file.write(b"more")
    with pytest.raises(FormatError, match="foreign bytes"):
        artifact.open(folder)


def test_a_missing_shard_is_named(tmp_path):
    model = model_of()
    artifact.save(model, weights_of(model), tmp_path / "a", shard_bytes=1)
    (tmp_path / "a" / "tables-00002-of-00005.safetensors").unlink()
    with pytest.raises(FormatError, match="tables-00002-of-00005"):
        artifact.open(tmp_path / "a")


def test_a_missing_table_is_named_with_its_shape(saved):
    model, _, folder = saved
    extra = msgspec.structs.replace(model, tables=(*model.tables, Table("lost", 7, 2)))
    extra.save(folder / "model.json")
    with pytest.raises(FormatError, match=r"table 'lost' \(float32 \[7, 2\]\) is missing"):
        artifact.open(folder)


def test_a_misshapen_table_is_named_with_both_shapes(saved):
    model, _, folder = saved
    tables = tuple(msgspec.structs.replace(t, rows=t.rows + 1) if t.name == "fp16" else t for t in model.tables)
    msgspec.structs.replace(model, tables=tables).save(folder / "model.json")
    with pytest.raises(FormatError, match=r"'fp16' in tables-.* \[6, 3\], but the model wants float16 \[7, 3\]"):
        artifact.open(folder)


def test_bf16_bits_are_not_mistaken_for_another_format(saved):
    _, _, folder = saved
    rewrite_header(shard(folder), lambda header: header["bf16"].update(dtype="F16"))
    with pytest.raises(FormatError, match=r"'bf16'.*stored as F16.*wants BF16"):
        artifact.open(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h["fp32"].update(shape=[500, 3]), "needs 6,000 bytes"),
        (lambda h: h["fp32"].update(data_offsets=[4, 64]), "needs"),
        (lambda h: h["fp32"].update(dtype="F8"), "dtype F8"),
        (lambda h: h["fp32"].pop("shape"), "no readable safetensors header"),
        (lambda h: h["fp32"].update(shape=[-5, -3]), "needs"),
        (lambda h: ["not", "a", "header"], "no readable safetensors header"),
        (lambda h: h.pop("int4"), "foreign bytes"),
    ],
)
def test_headers_that_contradict_themselves(saved, change, message):
    _, _, folder = saved
    rewrite_header(shard(folder), change)
    with pytest.raises(FormatError, match=message):
        artifact.open(folder)


def test_a_header_that_is_not_json(saved):
    _, _, folder = saved
    raw = bytearray(shard(folder).read_bytes())
    raw[10] = 0xFF
    shard(folder).write_bytes(raw)
    with pytest.raises(FormatError, match="no readable safetensors header"):
        artifact.open(folder)


def test_a_missing_dense_file(saved):
    _, _, folder = saved
    (folder / "dense.safetensors").unlink()
    with pytest.raises(FormatError, match=r"parameter 'bottom\.0\.weight' .* is missing"):
        artifact.open(folder)


def test_a_folder_around_an_artifact_stands_for_it(tmp_path):
    """What `train` writes is taken wherever an artifact is, by whichever way it comes in."""
    from recsmith.importers import import_model

    model = model_of()
    artifact.save(model, weights_of(model), tmp_path / "run" / "model")
    for way in (artifact.open, import_model):
        assert way(tmp_path / "run")[0] == way(tmp_path / "run" / "model")[0] == model


def test_a_folder_that_is_not_an_artifact(tmp_path):
    with pytest.raises(FormatError, match=r"no model\.json"):
        artifact.open(tmp_path)
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(FormatError, match=r"thesis\.tex"):
        artifact.save(model_of(), weights_of(model_of()), tmp_path)


def test_an_interrupted_save_leaves_the_old_artifact_or_none(saved, monkeypatch):
    model, _, folder = saved

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifact, "write", full)
    with pytest.raises(Exception, match="No space left"):
        artifact.save(model, weights_of(model, 1), folder)
    assert artifact.open(folder)[0] == model
    with pytest.raises(Exception, match="No space left"):
        artifact.save(model, weights_of(model, 1), folder.parent / "b")
    with pytest.raises(FormatError, match="interrupted"):
        artifact.open(folder.parent / "b")


def test_a_model_file_that_leaves_the_folder_is_refused(saved):
    model, _, folder = saved
    msgspec.structs.replace(model, graph=Graph("../../secret")).save(folder / "model.json")
    with pytest.raises(FormatError, match="leaves the artifact"):
        artifact.open(folder)


def test_a_feature_of_no_table_is_named(saved):
    model, _, folder = saved
    msgspec.structs.replace(model, features=(Feature("f", "nowhere"),)).save(folder / "model.json")
    with pytest.raises(FormatError, match="'f' reads table 'nowhere'"):
        artifact.open(folder)


def test_save_refuses_arrays_that_do_not_fit_the_model(tmp_path):
    model = model_of()
    weights = weights_of(model)
    with pytest.raises(FormatError, match="'fp32' is float64"):
        artifact.save(model, replace(weights, tables=weights.tables | {"fp32": np.zeros((5, 3))}), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_nonfinite_weights_are_counted_in_every_format():
    model = model_of()
    weights = weights_of(model)
    bad = {name: array.copy() for name, array in weights.tables.items()}
    bad["fp32"][1, :2] = np.nan, -np.inf
    bad["fp16"][0, 0] = np.inf
    bad["bf16"][2] = 0x7F80
    bad["int8"][3, :2] = np.frombuffer(np.float16(np.nan).tobytes(), np.uint8)
    dense = dict(weights.dense) | {"top.0.bias": np.array([np.nan], np.float32)}
    found = count_nonfinite(model, Weights(bad, dense))
    assert found == {"fp32": 2, "fp16": 1, "bf16": 3, "int8": 1, "top.0.bias": 1}
    assert count_nonfinite(model, weights) == {}
    with pytest.raises(CheckpointError, match=r"8 weights are NaN or infinite, in 'fp32' \(2\).*allow_nonfinite"):
        refuse_nonfinite(model, Weights(bad, dense))


def test_large_finite_rows_are_not_called_infinite():
    model = model_of(("fp32",))
    tables = {"fp32": np.full((5, 3), 3e38, np.float32)}
    assert count_nonfinite(model, Weights(tables)) == {}
