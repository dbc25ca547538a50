"""The drop-in through the public call: same outputs, one native look-up a forward."""

import pytest

import recsmith

torch = pytest.importorskip("torch")


class ClickModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.tables = torch.nn.ModuleList(torch.nn.EmbeddingBag(n, 16, mode="sum") for n in (100, 7, 5000))
        self.top = torch.nn.Linear(16 * 3 + 4, 1)

    def forward(self, dense, ids, offsets):
        bags = [table(i, o) for table, i, o in zip(self.tables, ids, offsets, strict=True)]
        return torch.sigmoid(self.top(torch.cat([dense, *bags], dim=1)))


def inputs(batch, lengths, seed=0):
    torch.manual_seed(seed)
    ids = [torch.randint(0, rows, (batch * n,)) for rows, n in zip((100, 7, 5000), lengths, strict=True)]
    offsets = [torch.arange(0, batch * n, n) for n in lengths]
    return torch.randn(batch, 4), ids, offsets


def test_same_outputs_for_other_batches_and_lengths():
    module = ClickModel().eval()
    optimised = recsmith.optimize(module, inputs(8, (1, 2, 3)), planner="symmetric")
    for batch, lengths in ((8, (1, 2, 3)), (1, (1, 1, 1)), (37, (4, 1, 2))):
        arguments = inputs(batch, lengths, seed=batch)
        with torch.inference_mode():
            wanted = module(*arguments)
        found = optimised(*arguments)
        assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    optimised.close()


def test_one_lookup_for_all_tables(monkeypatch):
    optimised = recsmith.optimize(ClickModel().eval(), inputs(8, (1, 2, 3)), planner="symmetric")
    calls = []
    executable = optimised.executable
    lookup = executable.lookup
    monkeypatch.setattr(executable, "lookup", lambda *args, **named: calls.append(1) or lookup(*args, **named))
    optimised(*inputs(8, (1, 2, 3)))
    assert calls == [1]
    optimised.close()
