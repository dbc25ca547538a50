"""DLRM_Net state dicts: the imported model predicts what PyTorch predicts; bad checkpoints say what is wrong."""

import collections
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsmith.importers import artifact, import_model
from recsmith.reference import forward, lookup
from recsmith.spec import CheckpointError, FormatError, Interaction, Jagged

torch = pytest.importorskip("torch")
import safetensors.torch  # noqa: E402
from torch_models import Dlrm, dlrm_inputs  # noqa: E402

ROWS = [7, 30, 2, 11]


def small(**options):
    torch.manual_seed(0)
    return Dlrm(ROWS, 4, [3, 8, 4], [6, 1], **options)


def jagged(offsets, ids):
    """The list-of-tensors inputs of DLRM as one Jagged."""
    bases = np.cumsum([0, *[len(group) for group in ids]])
    parts = [np.asarray(part) + base for part, base in zip(offsets, bases, strict=False)]
    return Jagged(torch.cat(ids).numpy(), np.concatenate([*parts, bases[-1:]]), len(offsets[0]))


def oracle(model, weights, dense, offsets, ids):
    pooled, _ = lookup(model, weights, jagged(offsets, ids))
    return forward(model, weights, dense.numpy(), pooled)


def assert_predicts_like(module, model, weights, batch=9, seed=1, tolerance=1e-5):
    rows = [table.rows for table in model.tables]
    arguments = dlrm_inputs(rows, model.dense_inputs, batch, seed)
    with torch.inference_mode():
        wanted = module(*arguments)[:, 0].numpy()
    found = oracle(model, weights, *arguments)
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()


@pytest.mark.parametrize("wrap", ["bare", "trained", "parallel", "legacy", "safetensors", "numpy scores"])
def test_every_way_of_saving(tmp_path, wrap):
    module = small()
    state = module.state_dict()
    path = tmp_path / "dlrm.pt"
    if wrap == "bare":
        torch.save(state, path)
    elif wrap == "trained":
        optimiser = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
        torch.save({"epoch": 3, "iter": 77, "state_dict": state, "opt_state_dict": optimiser.state_dict()}, path)
    elif wrap == "parallel":
        torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path)
    elif wrap == "legacy":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    elif wrap == "safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save({"train_loss": np.float32(0.3), "test_acc": np.float64(0.7), "state_dict": state}, path)
    model, weights = import_model(path)
    assert model.name == "dlrm" and model.provenance.source == "dlrm.pt" and len(model.provenance.sha256) == 64
    assert [feature.name for feature in model.features] == ["C1", "C2", "C3", "C4"]
    assert_predicts_like(module, model, weights)


@pytest.mark.parametrize("options", [{}, {"self_terms": True}, {"interaction": "cat"}])
def test_the_interaction_is_inferred_from_widths(tmp_path, options):
    module = small(**options)
    torch.save(module.state_dict(), tmp_path / "m.pt")
    flags = {"self_terms": True} if options.get("self_terms") else {}
    model, weights = import_model(tmp_path / "m.pt", **flags)
    assert model.interaction == Interaction(options.get("interaction", "dot"), options.get("self_terms", False))
    assert_predicts_like(module, model, weights)


def test_through_the_artifact(tmp_path):
    module = small()
    torch.save(module.state_dict(), tmp_path / "m.pt")
    artifact.save(*import_model(tmp_path / "m.pt"), tmp_path / "a")
    model, weights = import_model(tmp_path / "a")
    assert_predicts_like(module, model, weights)


def test_tables_share_the_memory_of_the_checkpoint(tmp_path):
    torch.save(small().state_dict(), tmp_path / "m.pt")
    _, weights = import_model(tmp_path / "m.pt")
    assert not any(array.flags.owndata for array in weights.tables.values())


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_random_dlrms_predict_like_pytorch(tmp_path_factory, data):
    rows = data.draw(st.lists(st.integers(1, 50), min_size=1, max_size=6))
    dim = data.draw(st.sampled_from([1, 2, 5, 16]))
    interaction = data.draw(st.sampled_from(["dot", "cat"]))
    self_terms = data.draw(st.booleans()) if interaction == "dot" else False
    bottom = [data.draw(st.integers(1, 4)), *data.draw(st.lists(st.integers(1, 5), max_size=2)), dim]
    torch.manual_seed(data.draw(st.integers(0, 99)))
    module = Dlrm(rows, dim, bottom, [3, 1], interaction, self_terms=self_terms)
    path = tmp_path_factory.mktemp("random") / "m.pt"
    torch.save(module.state_dict(), path)
    flags = {"interaction": interaction} | ({"self_terms": self_terms} if interaction == "dot" else {})
    model, weights = import_model(path, **flags)
    assert_predicts_like(module, model, weights, batch=data.draw(st.integers(1, 6)), seed=data.draw(st.integers(0, 99)))


def test_an_ambiguous_width_names_the_flags(tmp_path):
    # 3 tables of dim 2: cat gives 2 + 6 columns, and so does dot with 4 * 3 / 2 products.
    torch.manual_seed(0)
    module = Dlrm([5, 6, 7], 2, [3, 2], [4, 1], "cat")
    torch.save(module.state_dict(), tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=r"fits cat and dot.*--interaction.*--self-terms"):
        import_model(tmp_path / "m.pt")
    model, weights = import_model(tmp_path / "m.pt", interaction="cat")
    assert_predicts_like(module, model, weights)
    assert import_model(tmp_path / "m.pt", interaction="dot")[0].interaction == Interaction("dot")


def test_learned_pooling_weights_are_folded_into_the_rows(tmp_path):
    module = small()
    state = module.state_dict()
    scales = [torch.rand(rows) for rows in ROWS]
    torch.save(state | {f"v_W_l.{k}": scale for k, scale in enumerate(scales)}, tmp_path / "m.pt")
    model, weights = import_model(tmp_path / "m.pt")
    for table, scale in zip(module.emb_l, scales, strict=True):
        table.weight.data *= scale[:, None]
    assert_predicts_like(module, model, weights)


@pytest.mark.parametrize(
    ("dtype", "name"), [(torch.float16, "fp16"), (torch.bfloat16, "bf16"), (torch.float64, "fp32")]
)
def test_tables_keep_their_number_format(tmp_path, dtype, name):
    module = small()
    state = module.state_dict()
    halved = {key: tensor.to(dtype) if "emb_l" in key else tensor for key, tensor in state.items()}
    torch.save(halved, tmp_path / "m.pt")
    model, weights = import_model(tmp_path / "m.pt")
    assert {table.format.dtype for table in model.tables} == {name}
    module.load_state_dict({key: tensor.float() for key, tensor in halved.items()})
    assert_predicts_like(module, model, weights)


def test_feature_names_can_be_given(tmp_path):
    torch.save(small().state_dict(), tmp_path / "m.pt")
    model, _ = import_model(tmp_path / "m.pt", feature_names=["user", "item", "site", "hour"], name="ctr")
    assert model.name == "ctr" and [feature.table for feature in model.features] == ["user", "item", "site", "hour"]
    with pytest.raises(CheckpointError, match="1 feature names for 4 tables"):
        import_model(tmp_path / "m.pt", feature_names=["user"])


def changed(tmp_path, change):
    state = collections.OrderedDict(small().state_dict())
    change(state)
    torch.save(state, tmp_path / "m.pt")
    return tmp_path / "m.pt"


BAD_STATES = {
    "missing table": (lambda s: s.pop("emb_l.1.weight"), r"lacks table 'emb_l\.1\.weight' \(1 of 4"),
    "missing last tables": (lambda s: [s.pop("emb_l.3.weight"), s.pop("emb_l.2.weight")], "fits no interaction"),
    "one-dimensional table": (
        lambda s: s.update({"emb_l.1.weight": torch.ones(5)}),
        r"'emb_l\.1\.weight' is F32 \[5\]",
    ),
    "empty table": (lambda s: s.update({"emb_l.1.weight": torch.ones(0, 4)}), r"\[0, 4\]"),
    "integer table": (lambda s: s.update({"emb_l.1.weight": torch.ones(5, 4, dtype=torch.int64)}), "is I64"),
    "wrong dim": (lambda s: s.update({"emb_l.1.weight": torch.ones(5, 3)}), r"fits no interaction.*dim 3, 4"),
    "missing bias": (lambda s: s.pop("bot_l.0.bias"), r"lacks 'bot_l\.0\.bias'"),
    "missing layer": (lambda s: [s.pop("bot_l.0.bias"), s.pop("bot_l.0.weight")], r"lacks 'bot_l\.0\.weight'"),
    "no bottom": (lambda s: [s.pop(k) for k in list(s) if "bot_l" in k], r"'bot_l' has layers none"),
    "broken chain": (lambda s: s.update({"bot_l.2.weight": torch.ones(4, 9)}), r"\[4, 9\].*wanted \[out, 8\]"),
    "odd layer": (lambda s: s.update({"bot_l.1.weight": torch.ones(4, 9)}), r"'bot_l' has layers \[0, 1, 2\]"),
    "two outputs": (
        lambda s: s.update({"top_l.2.weight": torch.ones(2, 6), "top_l.2.bias": torch.ones(2)}),
        "ends in 2 outputs",
    ),
    "quotient-remainder": (
        lambda s: s.update({"emb_l.1.weight_q": torch.ones(5, 4), "emb_l.1.weight_r": torch.ones(5, 4)}),
        r"quotient-remainder.*not supported yet",
    ),
    "mixed dimension": (
        lambda s: s.update({"emb_l.1.embs.weight": torch.ones(5, 2)}),
        r"mixed-dimension.*not supported yet",
    ),
    "foreign key": (lambda s: s.update({"attention.weight": torch.ones(5)}), r"found attention\.weight"),
    "NaN": (lambda s: s["emb_l.1.weight"][0].fill_(torch.nan), r"4 weights are NaN or infinite, in 'C2' \(4\)"),
    "infinite bias": (lambda s: s["top_l.0.bias"][0].fill_(torch.inf), r"1 weights .* 'top\.0\.bias'"),
    "bad pooling weights": (lambda s: s.update({"v_W_l.0": torch.ones(3)}), r"pooling weights of 'emb_l\.0"),
    "sparse table": (lambda s: s.update({"emb_l.1.weight": torch.eye(4).to_sparse()}), "sparse"),
}


@pytest.mark.parametrize("case", BAD_STATES)
def test_bad_state_dicts_say_what_is_wrong(tmp_path, case):
    change, message = BAD_STATES[case]
    with pytest.raises(CheckpointError, match=message):
        import_model(changed(tmp_path, change))


def test_without_the_last_table_the_widths_ask_for_self_terms(tmp_path):
    """n vectors without self terms are as wide as n - 1 with them; only the flag can tell the two apart."""
    path = changed(tmp_path, lambda s: s.pop("emb_l.3.weight"))
    with pytest.raises(CheckpointError, match="of which the last is missing"):
        import_model(path)
    assert import_model(path, self_terms=True)[0].interaction == Interaction("dot", True)
    with pytest.raises(CheckpointError, match="fits no interaction"):
        import_model(path, self_terms=False)


def test_nonfinite_weights_can_be_kept(tmp_path):
    path = changed(tmp_path, lambda s: s["emb_l.1.weight"][0].fill_(torch.nan))
    _, weights = import_model(path, allow_nonfinite=True)
    assert np.isnan(weights.tables["C2"]).sum() == 4


class Malicious:
    def __reduce__(self):
        return (open, ("/tmp/recsmith-was-here", "w"))


def torchscript(path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)


def truncated(path):
    torch.save(small().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-300])


def legacy_truncated(path):
    torch.save(small().state_dict(), path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-300])


def another_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "hello")


BAD_FILES = {
    "empty": (lambda p: p.write_bytes(b""), "is empty"),
    "jpeg": (lambda p: p.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(50)), "JPEG"),
    "unknown": (lambda p: p.write_bytes(b"\x01\x02\x03\x04rubbish....."), "01 02 03 04"),
    "lfs pointer": (lambda p: p.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
    "torchscript": (torchscript, "TorchScript"),
    "truncated": (truncated, "truncated or damaged"),
    "legacy truncated": (legacy_truncated, "truncated or damaged"),
    "zip": (another_zip, r"zip archive \(letter\.txt"),
    "whole module": (lambda p: torch.save(small(), p), r"objects of 'torch_models\.Dlrm'.*run code.*state_dict"),
    "pickle with code": (lambda p: p.write_bytes(pickle.dumps(Malicious())), "cannot be read|run code|damaged"),
    "torch pickle with code": (lambda p: torch.save({"a": Malicious()}, p), "run code"),
    "list": (lambda p: torch.save([torch.ones(2)], p), "holds a list"),
    "tensor": (lambda p: torch.save(torch.ones(2), p), "holds a Tensor"),
    "no state dict": (lambda p: torch.save({"epoch": 3}, p), "holds a dictionary of 'epoch'"),
    "another model": (lambda p: torch.save(torch.nn.Linear(2, 2).state_dict(), p), r"its keys: weight, bias.*--model"),
    "absent": (lambda p: None, "No such file"),
    "folder": (lambda p: p.mkdir(), r"no model\.json"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_say_what_they_are(tmp_path, case):
    make, message = BAD_FILES[case]
    make(tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=message):
        import_model(tmp_path / "m.pt")


def test_code_in_a_pickle_does_not_run(tmp_path):
    witness = tmp_path / "ran"

    class Witness:
        def __reduce__(self):
            return (open, (str(witness), "w"))

    torch.save({"state_dict": small().state_dict(), "extra": Witness()}, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match="run code"):
        import_model(tmp_path / "m.pt")
    assert not witness.exists()


def test_a_truncated_safetensors_file(tmp_path):
    path = tmp_path / "m.safetensors"
    safetensors.torch.save_file(small().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FormatError, match="truncated"):
        import_model(path)
