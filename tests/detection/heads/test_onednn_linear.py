import pytest
import torch
import torch.fx
from torch import nn

from detection.heads.onednn_linear import OneDnnLinear

avx512 = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="oneDNN serves on CPUs with AVX-512 alone"
)


def gradients(layer: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """The output, and the gradients of weight, bias and input."""
    x = x.clone().requires_grad_()
    y = layer(x)
    upstream = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(2))
    return [y.detach(), *torch.autograd.grad(y, [*layer.parameters(), x], upstream)]


def as_torch_has_it(layer: OneDnnLinear) -> nn.Linear:
    plain = nn.Linear(layer.in_features, layer.out_features, dtype=layer.weight.dtype)
    plain.load_state_dict(layer.state_dict())
    return plain


@pytest.mark.parametrize("shape", [(1, 300), (37, 300)])
def test_values_and_gradients_are_those_of_torch(shape):
    torch.manual_seed(0)
    layer, x = OneDnnLinear(300, 70), torch.randn(shape)
    for ours, expected in zip(gradients(layer, x), gradients(as_torch_has_it(layer), x), strict=True):
        assert ours.shape == expected.shape
        assert (ours - expected).abs().max() <= 1e-5 * expected.abs().max()


@avx512
def test_a_cpu_with_avx512_takes_onednn():
    layer, x = OneDnnLinear(30, 7), torch.randn(4, 30)
    with torch.autograd.profiler.profile() as profile:
        layer(x).sum().backward()
    names = [event.name for event in profile.function_events]
    assert names.count("mkldnn::_linear_pointwise") == 2 and "aten::addmm" not in names


@pytest.mark.parametrize("rows, dtype", [(0, torch.float32), (3, torch.float64)])
def test_what_onednn_does_not_take_is_torchs_to_the_bit(rows, dtype):
    layer, x = OneDnnLinear(30, 7, dtype=dtype), torch.randn(rows, 30, dtype=dtype)
    ours, expected = gradients(layer, x), gradients(as_torch_has_it(layer), x)
    assert all(map(torch.equal, ours, expected))


def test_gradients_have_gradients():
    torch.manual_seed(0)
    layer, x = OneDnnLinear(30, 7), torch.randn(4, 30)
    found = []
    for linear in (layer, as_torch_has_it(layer)):
        inputs = [x.clone().requires_grad_(), *linear.parameters()]
        first = torch.autograd.grad(linear(inputs[0]).square().sum(), inputs, create_graph=True)
        found.append(torch.autograd.grad(sum(each.square().sum() for each in first), inputs))
    for ours, expected in zip(*found, strict=True):
        assert (ours - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_transforms_of_functions_take_it():
    layer, x = OneDnnLinear(30, 7), torch.randn(4, 30)
    plain = as_torch_has_it(layer)
    of_x = [
        torch.func.grad(lambda x, linear=linear: linear(x).square().sum())(x) for linear in (layer, plain)
    ]
    assert torch.equal(*of_x)
    assert torch.equal(torch.func.vmap(layer)(x[None]), torch.func.vmap(plain)(x[None]))
    assert torch.equal(torch.fx.symbolic_trace(layer)(x), plain(x))


@pytest.mark.parametrize("shape", [(30,), (2, 3, 30), (3, 31), (31, 30, 1)])
def test_other_shapes_are_those_of_torch(shape):
    layer, x = OneDnnLinear(30, 7), torch.randn(shape)
    plain = as_torch_has_it(layer)
    if shape[-1] == 30:
        assert all(map(torch.equal, gradients(layer, x), gradients(plain, x)))
        return
    with pytest.raises(RuntimeError) as expected:
        plain(x)
    with pytest.raises(RuntimeError) as ours:
        layer(x)
    assert str(ours.value) == str(expected.value)


def test_autocast_computes_in_half_precision():
    with torch.autocast("cpu", torch.bfloat16):
        assert OneDnnLinear(30, 7)(torch.randn(2, 30)).dtype == torch.bfloat16
