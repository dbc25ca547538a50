"""Linear layers of a captured forward give what they gave, packed or not."""

import numpy as np
import pytest

import recsmith
from recsmith.executor.linear import packs

torch = pytest.importorskip("torch")


class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.EmbeddingBag(50, 16, mode="sum")
        self.first, self.second = torch.nn.Linear(20, 512), torch.nn.Linear(512, 256, bias=False)
        self.gate, self.last = torch.nn.Linear(256, 256), torch.nn.Linear(256, 1)

    def forward(self, dense, ids, offsets):
        x = torch.relu(self.first(torch.cat([dense, self.table(ids, offsets)], dim=1)))
        x = self.second(x)
        x = x * torch.sigmoid(self.gate(x))
        kept = self.last(x)
        return torch.sigmoid(kept), kept, torch.nn.functional.linear(x, x[:3])


def inputs(batch):
    draw = torch.Generator().manual_seed(batch)
    return torch.randn(batch, 4, generator=draw), torch.randint(0, 50, (batch,), generator=draw), torch.arange(batch)


def test_layers_of_constant_weights_are_packed_and_yield_the_same():
    from recsmith.executor.captured import PackedLayer

    if not packs("float32"):
        pytest.skip("torch without oneDNN")
    torch.manual_seed(0)
    module = Tower().eval()
    optimised = recsmith.optimize(module, inputs(8), planner="symmetric")
    layers = [each for each in optimised.dense.modules() if isinstance(each, PackedLayer)]
    assert [each._activation for each in layers] == ["relu", "none", "sigmoid", "none"]
    # From the first size that all layers leave to torch to one that all of them but the last pack.
    sizes = (3, 16, 17, 205, 1000)
    assert min(each._worth for each in layers) > 3 and sorted(each._worth for each in layers)[2] < 1000
    for batch in sizes:
        with torch.inference_mode():
            wanted = module(*inputs(batch))
        for found, each in zip(optimised(*inputs(batch)), wanted, strict=True):
            np.testing.assert_allclose(found.numpy(), each.numpy(), rtol=0, atol=1e-5 * float(each.abs().max()))
    optimised.close()
