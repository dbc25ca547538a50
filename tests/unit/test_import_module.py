"""Modules by factory or instance: the imported model's look-up and exported graph predict what PyTorch predicts."""

import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from recsmith.importers import artifact, import_model
from recsmith.spec import Batch, CheckpointError, FormatError, InputError, Jagged

torch = pytest.importorskip("torch")
import safetensors.torch  # noqa: E402
from torch import nn  # noqa: E402
from torch_models import Dlrm, OracleExecutable, bags, dlrm_inputs  # noqa: E402

from recsmith.executor.assemble import assemble, sources  # noqa: E402
from recsmith.executor.graph import load_graph  # noqa: E402
from recsmith.importers.capture import capture  # noqa: E402
from recsmith.importers.lookups import find_lookups  # noqa: E402

ROWS = [7, 30, 2, 11]


def predict(model, weights, batch):
    return load_graph(model, weights).finish(batch, OracleExecutable(model, weights).lookup(batch.sparse))


def assert_close(found, wanted):
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max(initial=0) <= 1e-5 * np.abs(wanted).max(initial=0)


def reader_of(module, sample):
    """A function from the module's arguments to the ids as a prediction gets them."""
    _, _, lookups = find_lookups(capture(module, sample))
    nodes = [n for lookup in lookups for n in (lookup.ids, lookup.offsets, lookup.weights) if n is not None]
    names = [node.name for node in nodes[0].graph.find_nodes(op="placeholder")]
    positions = [names.index(node.name) for node in nodes]

    def read(arguments):
        leaves = torch.utils._pytree.tree_leaves(arguments)
        return assemble(sources(lookups), [leaves[at] for at in positions])

    return read


def test_dlrm_as_a_module(tmp_path):
    torch.manual_seed(0)
    module = Dlrm(ROWS, 4, [3, 8, 4], [6, 1])
    model, weights = import_model(module, sample=dlrm_inputs(ROWS, 3, 5), name="ctr")
    assert [feature.name for feature in model.features] == ["emb_l.0", "emb_l.1", "emb_l.2", "emb_l.3"]
    assert (model.name, model.dense_inputs, model.width) == ("ctr", 3, 16)
    artifact.save(model, weights, tmp_path / "a")
    model, weights = artifact.open(tmp_path / "a")
    read = reader_of(module, dlrm_inputs(ROWS, 3, 5))
    for batch in (1, 2, 33):
        arguments = dlrm_inputs(ROWS, 3, batch, batch)
        with torch.inference_mode():
            wanted = module(*arguments).numpy()
        assert_close(predict(model, weights, Batch(read(arguments), arguments[0].numpy())), wanted)


def test_an_empty_batch_gives_an_empty_prediction():
    module = Dlrm(ROWS, 4, [3, 8, 4], [6, 1])
    model, weights = import_model(module, sample=dlrm_inputs(ROWS, 3, 5))
    empty = Batch(Jagged(np.zeros(0, np.int64), np.zeros(1, np.int64), 0), np.zeros((0, 3), np.float32))
    assert predict(model, weights, empty).shape == (0, 1)


class Attention(nn.Module):
    """A sequence attended by a candidate, padding masked by id: needs ids and unpooled vectors in the dense part."""

    def __init__(self):
        super().__init__()
        self.item = nn.Embedding(40, 4)
        self.user = nn.Embedding(9, 4)
        self.out = nn.Sequential(nn.Linear(4 + 4 + 2 + 3, 5), nn.PReLU(), nn.Linear(5, 1))

    def forward(self, history, candidate, user, age, clicks):
        vectors, query = self.item(history), self.item(candidate)
        scores = (vectors * query[:, None, :]).sum(-1).masked_fill(history == 0, -1e9).softmax(-1)
        interest = (scores[:, :, None] * vectors).sum(1)
        inputs = torch.cat([interest, self.user(user), age, clicks], dim=1)
        return torch.sigmoid(self.out(inputs)).squeeze(1)


def attention_inputs(batch, length, seed):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randint(0, 40, (batch, length), generator=generator),
        torch.randint(0, 40, (batch,), generator=generator),
        torch.randint(0, 9, (batch,), generator=generator),
        torch.randn(batch, 2, generator=generator),
        torch.randn(batch, 3, generator=generator),
    )


def attention_batch(inputs):
    history, candidate, user = (part.numpy() for part in inputs[:3])
    lengths = [*[history.shape[1]] * len(history), *[1] * 2 * len(history)]
    values = np.concatenate([history.ravel(), candidate, user])
    return Batch(Jagged(values, np.cumsum([0, *lengths]), len(history)), torch.cat(inputs[3:], dim=1).numpy())


@pytest.fixture(scope="module")
def attention():
    torch.manual_seed(0)
    module = Attention().eval()
    return module, *import_model(module, sample=attention_inputs(3, 6, 0))


def test_sequences_masks_and_several_dense_inputs(tmp_path, attention):
    module, model, weights = attention
    assert [feature.name for feature in model.features] == ["item", "item:2", "user"]
    artifact.save(model, weights, tmp_path / "a")
    model, weights = artifact.open(tmp_path / "a")
    assert [each.kind for each in model.graph.inputs].count("dense") == 2
    assert {each.kind for each in model.graph.inputs} == {"ids", "dense", "pooled", "sequence"}
    for batch, length in [(3, 6), (1, 1), (9, 13)]:
        inputs = attention_inputs(batch, length, batch)
        with torch.inference_mode():
            wanted = module(*inputs).numpy()
        assert_close(predict(model, weights, attention_batch(inputs)), wanted)


def test_bags_that_do_not_fit_the_captured_shapes(attention):
    _, model, weights = attention
    good = attention_batch(attention_inputs(3, 6, 0))
    offsets = good.sparse.offsets.copy()
    offsets[1] -= 1
    ragged = Batch(Jagged(good.sparse.values, offsets, 3), good.dense)
    with pytest.raises(InputError, match="'item' must all have one length"):
        predict(model, weights, ragged)
    with pytest.raises(InputError, match=r"dense inputs are \[3, 4\], wanted \[3, 5\]"):
        predict(model, weights, Batch(good.sparse, good.dense[:, :4]))
    with pytest.raises(InputError, match="dense inputs are None"):
        predict(model, weights, Batch(good.sparse))


def test_shared_tables_and_feature_names():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.item = nn.EmbeddingBag(40, 4, mode="mean", padding_idx=0)

        def forward(self, bought, bought_offsets, viewed, viewed_offsets):
            return (self.item(bought, bought_offsets) * self.item(viewed, viewed_offsets)).sum(1)

    def inputs(batch, seed):
        generator = torch.Generator().manual_seed(seed)
        pairs = [bags(40, batch, generator) for _ in range(2)]
        return [tensor for offsets, ids in pairs for tensor in (ids, offsets)]

    module = Shared()
    model, weights = import_model(module, sample=inputs(4, 0), feature_names=["bought", "viewed"])
    assert [(f.name, f.table, f.padding_id) for f in model.features] == [("bought", "item", 0), ("viewed", "item", 0)]
    arguments = inputs(7, 3)
    with torch.inference_mode():
        assert_close(
            predict(model, weights, Batch(reader_of(module, arguments)(arguments))), module(*arguments).numpy()
        )
    with pytest.raises(CheckpointError, match="1 feature names for 2 look-ups: item, item:2"):
        import_model(module, sample=inputs(4, 0), feature_names=["bought"])


@settings(max_examples=3, deadline=None, phases=[Phase.generate])
@given(st.data())
def test_random_modules_predict_like_pytorch(data):
    check_random_module(data)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, phases=[Phase.generate])
@given(st.data())
def test_many_random_modules_predict_like_pytorch(data):
    check_random_module(data)


def check_random_module(data):
    count = data.draw(st.integers(1, 4))
    rows = data.draw(st.lists(st.integers(1, 30), min_size=count, max_size=count))
    dims = data.draw(st.lists(st.sampled_from([1, 3, 8]), min_size=count, max_size=count))
    modes = data.draw(st.lists(st.sampled_from(["sum", "mean", "weighted"]), min_size=count, max_size=count))
    width = data.draw(st.integers(0, 3))
    torch.manual_seed(data.draw(st.integers(0, 99)))

    class Random(nn.Module):
        def __init__(self):
            super().__init__()
            self.tables = nn.ModuleList(
                [
                    nn.EmbeddingBag(m, e, mode=mode.replace("weighted", "sum"))
                    for m, e, mode in zip(rows, dims, modes, strict=True)
                ]
            )
            self.out = nn.Linear(width + sum(dims), 2)

        def forward(self, dense, ids: list, offsets: list, scales: list):
            vectors = [
                table(ids[k], offsets[k], scales[k] if modes[k] == "weighted" else None)
                for k, table in enumerate(self.tables)
            ]
            return self.out(torch.cat([dense, *vectors], dim=1))

    def inputs(batch, seed):
        generator = torch.Generator().manual_seed(seed)
        pairs = [bags(m, batch, generator) for m in rows]
        scales = [torch.rand(len(i), generator=generator) for _, i in pairs]
        return torch.randn(batch, width, generator=generator), [i for _, i in pairs], [o for o, _ in pairs], scales

    module = Random()
    model, weights = import_model(module, sample=inputs(3, 0))
    assert [feature.weighted for feature in model.features] == [mode == "weighted" for mode in modes]
    arguments = inputs(data.draw(st.integers(1, 9)), data.draw(st.integers(1, 99)))
    with torch.inference_mode():
        wanted = module(*arguments).numpy()
    assert_close(predict(model, weights, Batch(reader_of(module, arguments)(arguments), arguments[0].numpy())), wanted)


FACTORY = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self, rows=12):
            super().__init__()
            self.user = nn.Embedding(rows, 4)
            self.words = nn.EmbeddingBag(30, 4, mode="mean")
            self.out = nn.Linear(8 + 2, 1)

        def forward(self, dense, user, words: list):
            vectors = [self.user(user), self.words(words[0], words[1])]
            return self.out(torch.cat([dense, *vectors], dim=1))

    def small():
        return Net(5)

    def number():
        return 3

    def broken():
        raise RuntimeError("no GPU")
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A user's folder: a factory, a checkpoint of it, and example inputs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user_model.py").write_text(textwrap.dedent(FACTORY))
    namespace = {}
    exec(textwrap.dedent(FACTORY), namespace)
    torch.manual_seed(0)
    module = namespace["Net"]()
    torch.save({"state_dict": {f"module.{name}": t for name, t in module.state_dict().items()}}, "net.pt")
    sample = {
        "dense": np.zeros((3, 2), np.float32),
        "user": np.array([1, 2, 3]),
        "words.0": np.array([4, 5, 6, 7]),
        "words.1": np.array([0, 2, 3]),
    }
    np.savez("sample.npz", **sample)
    return module


def forward_of(project):
    arguments = torch.rand(2, 2), torch.tensor([4, 0]), [torch.tensor([3, 9, 29]), torch.tensor([0, 1])]
    ids = Jagged(np.array([4, 0, 3, 9, 29]), np.array([0, 1, 2, 3, 5]), 2)
    with torch.inference_mode():
        return Batch(ids, arguments[0].numpy()), project(*arguments).numpy()


@pytest.mark.parametrize("factory", ["user_model:Net", "user_model.py:Net"])
@pytest.mark.parametrize("container", ["net.pt", "net.safetensors"])
def test_by_factory_checkpoint_and_sample(project, factory, container):
    if container == "net.safetensors":
        safetensors.torch.save_file(project.state_dict(), container)
    model, weights = import_model(container, factory=factory, sample="sample.npz")
    batch, wanted = forward_of(project)
    assert_close(predict(model, weights, batch), wanted)
    assert model.provenance.importer == f"module {factory}" and model.provenance.source == container


def save_with(change):
    def make():
        state = torch.load("net.pt")["state_dict"]
        change(state)
        torch.save(state, "net.pt")

    return make


BAD = {
    "other rows": ({"factory": "user_model:small"}, None, r"does not fit Net.*size mismatch for user\.weight"),
    "missing key": ({}, save_with(lambda s: s.pop("module.out.bias")), r'does not fit Net.*Missing key.*"out\.bias"'),
    "extra key": ({}, save_with(lambda s: s.update({"module.x": torch.ones(1)})), r'Unexpected key.*"x"'),
    "no function": ({"factory": "user_model"}, None, "names no function"),
    "no such function": ({"factory": "user_model:large"}, None, "'user_model' has no function 'large'"),
    "no such module": ({"factory": "user_mode:Net"}, None, "cannot import 'user_mode'"),
    "no such file": ({"factory": "other/model.py:Net"}, None, r"cannot import 'other/model\.py'"),
    "not a module": ({"factory": "user_model:number"}, None, "returns a int"),
    "factory fails": ({"factory": "user_model:broken"}, None, "no GPU"),
    "no sample": ({"sample": None}, None, "--sample"),
    "NaN": ({}, save_with(lambda s: s["module.user.weight"][0, 0].fill_(torch.nan)), "1 weights are NaN"),
    "sample lacks an input": ({"sample": "short.npz"}, None, "does not fit forward.*words"),
    "foreign checkpoint": ({}, lambda: Path("net.pt").write_bytes(b"\xff\xd8\xff\xe0" + bytes(90)), "JPEG"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_factories_checkpoints_and_samples(project, case):
    options, prepare, message = BAD[case]
    np.savez("short.npz", dense=np.zeros((3, 2), np.float32), user=np.array([1, 2, 3]))
    if prepare is not None:
        prepare()
    with pytest.raises(CheckpointError, match=message):
        import_model("net.pt", **({"factory": "user_model:Net", "sample": "sample.npz"} | options))


def test_a_sample_that_is_no_npz(project, tmp_path):
    (tmp_path / "sample.npz").write_bytes(b"rubbish")
    with pytest.raises(FormatError, match=r"not an \.npz"):
        import_model("net.pt", factory="user_model:Net", sample="sample.npz")
    np.savez(tmp_path / "sample.npz", dense=np.array([object()]))
    with pytest.raises(FormatError, match=r"not an \.npz of plain arrays"):
        import_model("net.pt", factory="user_model:Net", sample="sample.npz")


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(25, 4, mode="sum")
        self.rows = nn.Embedding(25, 4)


class Hashed(Base):
    def forward(self, ids, offsets, x):
        return self.bag(ids % 25, offsets).sum(1)


class FromFloats(Base):
    def forward(self, ids, offsets, x):
        return self.rows(x[:, 0].long()).sum(1) + x[:, 1]


class UsesOffsets(Base):
    def forward(self, ids, offsets, x):
        return self.bag(ids, offsets).sum(1) * offsets


class TwoOutputs(Base):
    def forward(self, ids, offsets, x):
        vectors = self.bag(ids, offsets)
        return vectors, vectors.sum(1)


class Scalar(Base):
    def forward(self, ids, offsets, x):
        return self.bag(ids, offsets).sum()


class NoRows(Base):
    def forward(self, ids, offsets, x):
        return self.bag(ids, offsets).sum(1) + x


NOT_EXPORTABLE = {
    "ids computed": (Hashed, r"computed by aten\.remainder.*, at test_import_module\.py:\d+: return self\.bag"),
    "ids from floats": (FromFloats, "columns of the float input 'x'"),
    "offsets used besides": (UsesOffsets, r"'offsets' is used besides the look-up, at test_import_module\.py:\d+"),
    "two outputs": (TwoOutputs, "does not return one tensor"),
    "scalar": (Scalar, "does not return one tensor"),
    "dense without rows": (NoRows, "a dense input has a row of fixed width"),
}


@pytest.mark.parametrize("case", NOT_EXPORTABLE)
def test_what_a_prediction_could_not_feed_is_refused(case):
    make, message = NOT_EXPORTABLE[case]
    x = torch.rand(()) if case == "dense without rows" else torch.rand(3, 2)
    with pytest.raises(CheckpointError, match=message):
        import_model(make(), sample=(torch.arange(7), torch.tensor([0, 2, 3]), x))


def test_a_damaged_graph_file(tmp_path):
    module = Dlrm(ROWS, 4, [3, 8, 4], [6, 1])
    artifact.save(*import_model(module, sample=dlrm_inputs(ROWS, 3, 5)), tmp_path / "a")
    path = tmp_path / "a" / "dense.pt2"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FormatError, match=r"'dense\.pt2' is not an exported program"):
        load_graph(*artifact.open(tmp_path / "a"))


def test_through_the_native_executor(tmp_path, attention):
    """Import, save, open, plan, compile, run: what a prediction of any module goes through."""
    pytest.importorskip("recsmith._native")
    from recsmith import api
    from recsmith.spec import Workload

    module, model, weights = attention
    model, weights = artifact.open(artifact.save(model, weights, tmp_path / "a"))
    made = api.plan(model, api.platform("cpu"), Workload.uniform(model, 64), planner="symmetric")
    with api.compile(model, made, weights, pages="4k") as engine:
        for batch, length in [(3, 6), (1, 1), (200, 13)]:
            inputs = attention_inputs(batch, length, batch)
            with torch.inference_mode():
                wanted = module(*inputs).numpy()
            assert_close(engine.run(attention_batch(inputs)).values, wanted)
        empty = Jagged(np.zeros(0, np.int64), np.zeros(1, np.int64), 0)
        assert engine.run(Batch(empty, np.zeros((0, 5), np.float32))).values.shape == (0,)
