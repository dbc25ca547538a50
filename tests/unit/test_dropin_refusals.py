"""What the drop-in refuses: inputs of another kind than the sample, and modules that cannot be captured."""

import pytest

from recsmith.spec import CheckpointError, InputError

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_models import Bag, Dlrm, OracleExecutable, dlrm_inputs, ids  # noqa: E402

from recsmith.executor.dropin import optimize  # noqa: E402

ROWS = [7, 30, 2, 11]


@pytest.fixture
def dlrm():
    module = Dlrm(ROWS, 4, [3, 8, 4], [6, 1])
    return optimize(module, dlrm_inputs(ROWS, 3, 5), build=OracleExecutable)


def test_inputs_of_another_kind(dlrm):
    dense, offsets, values = dlrm_inputs(ROWS, 3, 5)
    with pytest.raises(InputError, match="nested as"):
        dlrm(dense, offsets[:3], values[:3])
    with pytest.raises(InputError, match=r"'emb_l\.1' has 4 bags, 'emb_l\.0' has 5"):
        dlrm(dense, [offsets[0], offsets[1][:-1], *offsets[2:]], values)
    with pytest.raises(InputError, match=r"ids are torch\.float32"):
        dlrm(dense, offsets, [each.float() for each in values])
    with pytest.raises(InputError, match=r"offsets are torch\.float32"):
        dlrm(dense, [each.float() for each in offsets], values)
    with pytest.raises(InputError, match=r"'emb_l\.2' begin at 1"):
        dlrm(dense, [*offsets[:2], offsets[2] + 1, offsets[3]], values)
    with pytest.raises(InputError, match=r"dense\.shape\[1\] == 3"):
        dlrm(dense[:, :2], offsets, values)
    with pytest.raises(InputError, match="not of the sample's kind"):
        dlrm([1.0], offsets, values)


class Control(Bag):
    def forward(self, ids, offsets):
        vectors = self.bag(ids, offsets)
        if vectors.sum() > 0:
            return vectors
        return -vectors


class DataDependent(Bag):
    def forward(self, ids, offsets):
        kept = [int(i) for i in ids if i > 2]
        return self.bag(torch.tensor(kept), offsets)


class Chained(Bag):
    def forward(self, ids, offsets):
        best = self.bag(ids, offsets).argmax(1)
        return self.plain(best, offsets)


class Computed(Bag):
    def forward(self, ids, offsets):
        return nn.functional.embedding_bag(ids, self.bag.weight * 2, offsets)


class FixedBatch(Bag):
    def forward(self, ids, offsets):
        return self.bag(ids, offsets).view(3, 2, 2)[:, 0] + torch.zeros(offsets.shape[0], 2).view(3, 2)


class Writes(Bag):
    def forward(self, ids, offsets):
        ids.add_(1)
        return self.bag(ids, offsets)


class Counting(Bag):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, ids, offsets):
        self.calls += 1
        return self.bag(ids, offsets)


class NoTable(nn.Module):
    def forward(self, ids, offsets):
        return ids + 1


class Starred(Bag):
    def forward(self, *tensors):
        return self.bag(*tensors)


class Random(Bag):
    def forward(self, ids, offsets):
        return self.bag(ids, offsets) + torch.randn(4)


REFUSED = {
    "control flow": (Control, r"test_dropin_refusals\.py:\d+: if vectors\.sum\(\) > 0"),
    "data-dependent ids": (DataDependent, r"test_dropin_refusals\.py:\d+: kept = "),
    "ids from a look-up": (Chained, r"depend on another look-up, at test_dropin_refusals\.py:\d+: return self\.plain"),
    "computed table": (
        Computed,
        r"table is computed in the forward.*test_dropin_refusals\.py:\d+: return nn\.functional",
    ),
    "fixed batch": (FixedBatch, r"batches of 3|FixedBatch"),
    "max_norm": (lambda: Bag(max_norm=1.0), r"max_norm rewrites rows.*torch_models\.py:\d+"),
    "max pooling": (lambda: Bag(mode="max"), r"pooled by maximum, at torch_models\.py:\d+"),
    "writes to inputs": (Writes, "writes to ids"),
    "keeps state": (Counting, "writes to calls"),
    "no table": (NoTable, r"calls no nn\.EmbeddingBag"),
    "half precision": (lambda: Bag().half(), r"float16.*module\.float\(\)"),
    "starred": (Starred, r"\*tensors.*not a plain positional"),
    "random": (Random, "differs from the original on the sample"),
    "on another device": (lambda: Bag().to("meta"), r"lies on meta.*module\.cpu"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_captured_is_refused_with_the_line(case):
    make, message = REFUSED[case]
    with pytest.raises(CheckpointError, match=message):
        optimize(make(), (ids(25, 7) % 9, torch.tensor([0, 2, 3])), build=OracleExecutable)


def test_a_sample_that_does_not_fit():
    with pytest.raises(CheckpointError, match=r"does not fit forward\(ids, offsets=None, weights=None\)"):
        optimize(Bag(), {"values": ids(25, 7)}, build=OracleExecutable)
