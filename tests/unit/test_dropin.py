"""The drop-in: one look-up a forward, the original's outputs, and refusals that name the line."""

import copy
import inspect

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from recsmith.spec import InputError

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_models import Bag, Dlrm, OracleExecutable, bags, dlrm_inputs, ids  # noqa: E402

from recsmith.executor.dropin import optimize  # noqa: E402


def assert_same(module, optimised, *args, **kwargs):
    """Equal outputs (max|a-b| <= 1e-5 max|b|) from exactly one look-up."""
    before = optimised.executable.calls
    with torch.inference_mode():
        wanted = torch.utils._pytree.tree_leaves(module.eval()(*args, **kwargs))
    found = torch.utils._pytree.tree_leaves(optimised(*args, **kwargs))
    assert optimised.executable.calls == before + 1
    for a, b in zip(found, wanted, strict=True):
        if not isinstance(b, torch.Tensor):
            assert a == b
            continue
        assert a.shape == b.shape and a.dtype == b.dtype
        assert b.numel() == 0 or (a - b).abs().max() <= 1e-5 * b.abs().max()


ROWS = [7, 30, 2, 11]


@pytest.mark.parametrize("options", [{}, {"self_terms": True}, {"interaction": "cat"}])
def test_dlrm_with_lists_of_ids_and_offsets(options):
    torch.manual_seed(0)
    module = Dlrm(ROWS, 4, [3, 8, 4], [6, 1], **options)
    optimised = optimize(module, dlrm_inputs(ROWS, 3, 5), build=OracleExecutable)
    for batch, longest in [(5, 4), (1, 1), (2, 0), (64, 9), (7, 1)]:
        assert_same(module, optimised, *dlrm_inputs(ROWS, 3, batch, batch, longest))
    assert_same(module, optimised, *dlrm_inputs(ROWS, 3, 6, dtype=torch.int32))


def test_the_rest_joins_and_picks_in_few_operations():
    """Neighbouring look-ups reach the interaction as one slice, and pairs are picked by one index."""
    optimised = optimize(Dlrm(ROWS, 4, [3, 8, 4], [6, 1]), dlrm_inputs(ROWS, 3, 5), build=OracleExecutable)
    targets = [str(node.target) for node in optimised.dense.graph.nodes]
    first = next(node for node in optimised.dense.graph.nodes if str(node.target) == "aten.cat.default")
    assert [part.name for part in first.args[0]][1:] == ["looked_pooled"]
    assert "aten.index_select.default" in targets and "aten.index.Tensor" not in targets
    assert "aten.lift_fresh_copy.default" not in targets


class Gathered(nn.Module):
    """Indexing that must stay as it is: by negative, by computed, and by constant positions in another axis."""

    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(25, 6)

    def forward(self, ids, offsets):
        x = self.bag(ids, offsets).view(-1, 2, 3)
        one, two = torch.tensor([0, 1]), torch.tensor([-1, 0])
        return x[:, one, two], x[:, torch.tensor([1]), torch.tensor([2])], x[:, :, torch.tensor([0, 2])], x[:, one]


def test_other_ways_of_indexing():
    module = Gathered()
    optimised = optimize(module, (ids(25, 7), torch.tensor([0, 2])), build=OracleExecutable)
    assert_same(module, optimised, ids(25, 9), torch.tensor([0, 2, 5]))


def test_tables_of_different_dims():
    module = Dlrm(ROWS, [4, 2, 8, 1], [3, 8, 4], [6, 1], "cat")
    optimised = optimize(module, dlrm_inputs(ROWS, 3, 5), build=OracleExecutable)
    assert [table.dim for table in optimised.model.tables] == [4, 2, 8, 1]
    assert_same(module, optimised, *dlrm_inputs(ROWS, 3, 9, 3))


def test_a_sample_of_one_serves_any_batch():
    module = Dlrm(ROWS, 4, [3, 8, 4], [6, 1])
    optimised = optimize(module, dlrm_inputs(ROWS, 3, 1, longest=1), build=OracleExecutable)
    for batch in (1, 2, 33):
        assert_same(module, optimised, *dlrm_inputs(ROWS, 3, batch, batch))


def test_stacked_offsets_and_ids_as_the_published_loader_gives_them():
    module = Dlrm(ROWS, 4, [3, 8, 4], [6, 1])

    def inputs(batch, seed):
        one_hot = torch.stack([ids(rows, batch, seed=seed + at) for at, rows in enumerate(ROWS)])
        return torch.randn(batch, 3), torch.arange(batch).repeat(4, 1), one_hot

    optimised = optimize(module, inputs(4, 0), build=OracleExecutable)
    assert_same(module, optimised, *inputs(9, 1))


class Sequence(nn.Module):
    """nn.Embedding over a sequence, pooled by hand; a second table read one id a sample; a third kept whole."""

    def __init__(self, pool):
        super().__init__()
        self.history = nn.Embedding(50, 6, padding_idx=0)
        self.user = nn.Embedding(20, 6)
        self.words = nn.Embedding(9, 6)
        self.out = nn.Linear(12, 2)
        self.pool = pool

    def forward(self, history, user, words):
        history_vectors = self.history(history)
        pooled = {
            "sum": lambda: history_vectors.sum(dim=1),
            "mean": lambda: history_vectors.mean(1),
            "max": lambda: history_vectors.max(dim=1).values,
            "keep": lambda: history_vectors.sum(1, keepdim=True)[:, 0],
        }[self.pool]()
        attended = (self.words(words) * pooled[:, None, :]).sum(-1).softmax(-1)
        return self.out(torch.cat([pooled, self.user(user)], dim=1)), attended


@pytest.mark.parametrize("pool", ["sum", "mean", "max", "keep"])
def test_embeddings_over_sequences(pool):
    module = Sequence(pool)

    def inputs(batch, length, seed):
        return ids(50, batch, length, seed=seed), ids(20, batch, seed=seed), ids(9, batch, 3, seed=seed)

    optimised = optimize(module, inputs(4, 5, 0), build=OracleExecutable)
    poolings = [feature.pooling for feature in optimised.model.features]
    assert poolings == [pool if pool in ("sum", "mean") else "none", "none", "sum"]
    for batch, length in [(4, 5), (1, 1), (9, 2), (3, 17)]:
        assert_same(module, optimised, *inputs(batch, length, batch))


class Shared(nn.Module):
    """One table behind two modules (the same Parameter) and read three times in all."""

    def __init__(self):
        super().__init__()
        self.item = nn.EmbeddingBag(40, 4, mode="mean")
        self.viewed = nn.EmbeddingBag(40, 4, mode="sum")
        self.viewed.weight = self.item.weight
        self.other = nn.EmbeddingBag(8, 4, mode="sum")

    def forward(self, bought, bought_offsets, viewed, viewed_offsets, other, other_offsets):
        first = self.item(bought, bought_offsets)
        second = self.viewed(viewed, viewed_offsets)
        third = self.item(viewed, viewed_offsets)
        return {"score": (first * second).sum(1), "rest": [third, self.other(other, other_offsets)]}


def test_shared_tables_are_one_table():
    module = Shared()

    def inputs(batch, seed):
        generator = torch.Generator().manual_seed(seed)
        pairs = [bags(rows, batch, generator) for rows in (40, 40, 8)]
        return [tensor for offsets, values in pairs for tensor in (values, offsets)]

    optimised = optimize(module, inputs(5, 0), build=OracleExecutable)
    assert [table.name for table in optimised.model.tables] == ["item", "other"]
    assert [(f.table, f.pooling) for f in optimised.model.features].count(("item", "mean")) == 2
    for batch in (5, 1, 12):
        assert_same(module, optimised, *inputs(batch, batch))


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("padding", [None, 3, -1])
@pytest.mark.parametrize("last", [False, True])
def test_pooling_padding_and_both_kinds_of_offsets(mode, padding, last):
    module = Bag(mode=mode, padding_idx=padding, include_last_offset=last)
    generator = torch.Generator().manual_seed(1)

    def inputs(batch, longest=6):
        offsets, values = bags(25, batch, generator, longest)
        return values, torch.cat([offsets, torch.tensor([len(values)])]) if last else offsets

    optimised = optimize(module, inputs(5), build=OracleExecutable)
    assert optimised.model.features[0].padding_id == {None: None, 3: 3, -1: 24}[padding]
    for batch in (5, 1, 40):
        assert_same(module, optimised, *inputs(batch))
    assert_same(module, optimised, *inputs(6, longest=0))


def test_ids_after_the_last_offset_are_left_out():
    module = Bag(mode="sum", include_last_offset=True)
    optimised = optimize(module, (ids(25, 7), torch.tensor([0, 2, 7])), build=OracleExecutable)
    assert_same(module, optimised, ids(25, 9), torch.tensor([0, 2, 2, 7]))
    with pytest.raises(InputError, match="end at 12 of 9"):
        optimised(ids(25, 9), torch.tensor([0, 2, 12]))


def test_weights_for_each_id():
    module = Bag(mode="sum")
    generator = torch.Generator().manual_seed(1)

    def inputs(batch):
        offsets, values = bags(25, batch, generator)
        return values, offsets, torch.rand(len(values), generator=generator)

    optimised = optimize(module, inputs(5), build=OracleExecutable)
    assert [feature.weighted for feature in optimised.model.features] == [True, False]
    assert_same(module, optimised, *inputs(8))


@pytest.mark.parametrize("weighted", [False, True])
def test_fixed_bags_of_two_dimensions(weighted):
    module = Bag(mode="sum")

    def inputs(batch, length):
        weights = torch.rand(batch, length) if weighted else None
        return ids(25, batch, length, seed=batch), None, weights

    optimised = optimize(module, inputs(4, 3), build=OracleExecutable)
    for batch, length in [(4, 3), (1, 1), (5, 8)]:
        assert_same(module, optimised, *inputs(batch, length))


class Matrix(nn.Module):
    """Ids as columns of one matrix, shifted into one table by an offset, as factorisation machines do."""

    def __init__(self, fields=(5, 9, 3)):
        super().__init__()
        self.register_buffer("starts", torch.tensor([0, *fields[:-1]]).cumsum(0))
        self.table = nn.Embedding(sum(fields), 4)
        self.linear = nn.EmbeddingBag(sum(fields), 1, mode="sum")
        self.first = nn.Embedding(fields[0], 4)
        self.dropout = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        ids = x + self.starts
        vectors = self.table(ids)
        square, squares = vectors.sum(1) ** 2, (vectors**2).sum(1)
        crossed = self.dropout(self.norm(0.5 * (square - squares) + self.first(x[:, 0])))
        return torch.sigmoid(self.linear(ids) + crossed.sum(1, keepdim=True)).squeeze(1)


def test_ids_computed_in_the_forward():
    module = Matrix()

    def inputs(batch):
        return torch.stack([ids(rows, batch, seed=batch + rows) for rows in (5, 9, 3)], dim=1)

    optimised = optimize(module, inputs(4), build=OracleExecutable)
    for batch in (4, 1, 31):
        assert_same(module, optimised, inputs(batch))


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(10, 4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, ids, offsets):
        vectors = self.bag(ids, offsets)
        vectors += 1
        shifted = ids.clone()
        shifted.add_(1).clamp_(max=9)
        return self.relu(vectors) - self.bag(shifted, offsets)


def test_in_place_steps_do_not_get_lost():
    module = InPlace()
    optimised = optimize(module, (ids(10, 7), torch.tensor([0, 2, 3])), build=OracleExecutable)
    assert_same(module, optimised, ids(10, 9, seed=4), torch.tensor([0, 5]))


@settings(max_examples=3, deadline=None, phases=[Phase.generate])
@given(st.data())
def test_random_models_of_bags(data):
    check_random_model(data)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, phases=[Phase.generate])
@given(st.data())
def test_many_random_models_of_bags(data):
    check_random_model(data)


def check_random_model(data):
    """Any number of tables, dims, poolings and sharing: import, one look-up, the rest as captured == PyTorch."""
    count = data.draw(st.integers(1, 4))
    rows = data.draw(st.lists(st.integers(1, 30), min_size=count, max_size=count))
    dims = data.draw(st.lists(st.sampled_from([1, 3, 8]), min_size=count, max_size=count))
    modes = data.draw(st.lists(st.sampled_from(["sum", "mean"]), min_size=count, max_size=count))
    reads = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=5))
    torch.manual_seed(data.draw(st.integers(0, 99)))

    class Random(nn.Module):
        def __init__(self):
            super().__init__()
            self.tables = nn.ModuleList(
                [nn.EmbeddingBag(m, e, mode=mode) for m, e, mode in zip(rows, dims, modes, strict=True)]
            )
            self.out = nn.Linear(2 + sum(dims[table] for table in reads), 3)

        def forward(self, dense, ids: list, offsets: list):
            vectors = [self.tables[t](ids[k], offsets[k]) for k, t in enumerate(reads)]
            return self.out(torch.cat([*vectors, dense], dim=-1))

    def inputs(batch, seed):
        generator = torch.Generator().manual_seed(seed)
        pairs = [bags(rows[table], batch, generator) for table in reads]
        return torch.randn(batch, 2, generator=generator), [i for _, i in pairs], [o for o, _ in pairs]

    module = Random()
    optimised = optimize(module, inputs(3, 0), build=OracleExecutable)
    assert_same(module, optimised, *inputs(data.draw(st.integers(1, 9)), data.draw(st.integers(1, 99))))


def test_signature_keywords_and_mapping_samples():
    module = Bag(mode="sum")
    sample = {"ids": ids(25, 7), "offsets": torch.tensor([0, 2, 3])}
    optimised = optimize(module, sample, build=OracleExecutable)
    assert_same(module, optimised, offsets=torch.tensor([0, 1]), ids=ids(25, 4))
    assert inspect.signature(optimised.forward) == inspect.signature(module.forward)
    with pytest.raises(InputError, match="captured with None"):
        optimised(ids(25, 4), torch.tensor([0, 1]), torch.ones(4))
    with pytest.raises(InputError, match="unexpected keyword"):
        optimised(ids(25, 4), torch.tensor([0, 1]), sizes=3)


def test_the_tables_are_not_kept_twice_and_training_mode_is_left_alone():
    module = Dlrm(ROWS, 4, [3, 8, 4], [6, 1]).train()
    optimised = optimize(module, dlrm_inputs(ROWS, 3, 5), build=OracleExecutable)
    assert module.training and all(part.training for part in module.modules())
    assert not any("emb_l" in name for name in optimised.state_dict())
    optimised.close()
    assert optimised.executable.closed


def test_equal_lengths_of_one_need_no_offsets():
    module = Sequence("sum")
    sample = ids(50, 4, 1), ids(20, 4), ids(9, 4, 3)
    optimised = optimize(module, sample, build=OracleExecutable)
    assert optimised.executable.seen[-1].offsets is not None

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Embedding(5, 2), nn.Embedding(6, 3)

        def forward(self, x):
            return torch.cat([self.a(x[:, 0]), self.b(x[:, 1])], dim=1)

    two = optimize(Two(), ids(5, 4, 2), build=OracleExecutable)
    assert two.executable.seen[-1].offsets is None and two.executable.seen[-1].batch == 4


def test_shape_branches_are_guarded():
    class Branch(Bag):
        def forward(self, ids, offsets):
            vectors = self.bag(ids, offsets)
            return vectors * 2 if offsets.shape[0] > 3 else vectors

    module = Branch(mode="sum")
    optimised = optimize(module, (ids(25, 7), torch.arange(5)), build=OracleExecutable)
    assert_same(module, optimised, ids(25, 7), torch.arange(6))
    with pytest.raises(InputError, match=r"offsets\.shape\[0\] > 3"):
        optimised(ids(25, 7), torch.arange(2))


def test_optimised_modules_are_independent_of_later_training():
    module = Bag(mode="sum")
    frozen = copy.deepcopy(module)
    optimised = optimize(module, (ids(25, 7), torch.tensor([0, 2])), build=OracleExecutable)
    assert_same(frozen, optimised, ids(25, 7), torch.tensor([0, 2]))
