"""Products of layers under training: the same numbers and gradients, whoever multiplies."""

import pytest

torch = pytest.importorskip("torch")

from recsmith.executor.linear import packs  # noqa: E402
from recsmith.training import products  # noqa: E402


def both(rows, width_in, width_out):
    """Results and gradients of ours and of torch's own."""
    torch.manual_seed(rows + width_in)
    x, weight, bias = torch.randn(rows, width_in), torch.randn(width_out, width_in), torch.randn(width_out)
    back = torch.randn(rows, width_out)
    for layer in (products.linear, torch.nn.functional.linear):
        own = [each.clone().requires_grad_() for each in (x, weight, bias)]
        out = layer(*own)
        out.backward(back)
        yield out, [each.grad for each in own]


@pytest.mark.parametrize(
    ("rows", "width_in", "width_out"), [(64, 256, 192), (48, 301, 257), (16, 8, 4), (15, 512, 512)]
)
def test_products_and_gradients_are_those_of_torch(rows, width_in, width_out):
    (ours, own), (theirs, wanted) = both(rows, width_in, width_out)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    for found, each in zip(own, wanted, strict=True):
        torch.testing.assert_close(found, each, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not packs("float32"), reason="no oneDNN here")
@pytest.mark.parametrize(("rows", "ours"), [(64, True), (63, False), (16, False)])
def test_only_large_products_of_whole_steps_go_to_onednn(rows, ours, monkeypatch):
    asked = []
    monkeypatch.setattr(products._Linear, "apply", lambda *given: asked.append(given) or torch.zeros(1))
    products.linear(torch.zeros(rows, 256), torch.zeros(192, 256), torch.zeros(192))
    assert bool(asked) is ours


def test_an_input_without_gradient_costs_none():
    weight, bias = torch.zeros(192, 256, requires_grad=True), torch.zeros(192, requires_grad=True)
    x = torch.randn(64, 256)
    products.linear(x, weight, bias).sum().backward()
    torch.testing.assert_close(weight.grad, x.sum(0).expand(192, 256), rtol=1e-4, atol=1e-4)
    assert x.grad is None and torch.equal(bias.grad, torch.full((192,), 64.0))
