import pytest
import torch
from torch import nn

from backbones import OptionError, create_backbone
from backbones.norm import (
    FrozenBatchNorm2d,
    calibrate_batchnorm,
    freeze_batchnorm,
    lacks_statistics,
    norm_eps,
    set_norm_eps,
)


def trained_norm(channels: int = 3) -> nn.BatchNorm2d:
    """A normalisation whose every value and epsilon matter."""
    norm = nn.BatchNorm2d(channels, eps=1e-2)
    nn.init.uniform_(norm.weight, 0.5, 2.0)
    nn.init.normal_(norm.bias)
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.1, 2.0)
    return norm.eval()


def one(value: float) -> torch.Tensor:
    return torch.tensor([float(value)])


def test_frozen_by_hand():
    # (5 - 1) / sqrt(3 + 1) * 10 + 2 = 22
    norm = FrozenBatchNorm2d(1, eps=1.0)
    norm.load_state_dict({"weight": one(10), "bias": one(2), "running_mean": one(1), "running_var": one(3)})
    for requires_grad in (False, True):
        x = torch.full((1, 1, 1, 1), 5.0, requires_grad=requires_grad)
        assert norm(x).item() == pytest.approx(22.0)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_frozen_equals_eval_mode(requires_grad, memory_format):
    norm = trained_norm()
    frozen = freeze_batchnorm(norm).train()
    x = torch.randn(2, 3, 5, 7).to(memory_format=memory_format).requires_grad_(requires_grad)
    result = frozen(x)
    torch.testing.assert_close(result, norm(x))
    assert result.is_contiguous(memory_format=memory_format)
    assert torch.equal(frozen.running_mean, norm.running_mean)


def test_gradient_equals_eval_mode_and_reaches_the_input_alone():
    norm = trained_norm()
    frozen = freeze_batchnorm(norm)
    x, upstream = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 3, 4, 4)
    (ours,) = torch.autograd.grad(frozen(x), x, upstream)
    (expected,) = torch.autograd.grad(norm(x), x, upstream)
    torch.testing.assert_close(ours, expected)
    assert list(frozen.parameters()) == []


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite_without_variance(dtype, requires_grad):
    # Without epsilon 0 / sqrt(0) is NaN (torchvision issue 2169).
    norm = FrozenBatchNorm2d(2)
    norm.running_var.zero_()
    x = torch.zeros(1, 2, 3, 3, dtype=dtype, requires_grad=requires_grad)
    for module in (norm, norm.to(dtype)):  # statistics in float32 as under autocast, and in half precision
        result = module(x)
        assert result.dtype == dtype
        assert not result.isnan().any() and not result.any()


def test_half_precision_agrees_with_single():
    frozen = freeze_batchnorm(trained_norm())
    x = torch.randn(2, 3, 5, 5).bfloat16()
    torch.testing.assert_close(frozen(x).float(), frozen(x.float()), rtol=1e-2, atol=1e-4)


def test_freezing_keeps_names_values_epsilon_and_mode():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 3, 1), trained_norm(), nn.Sequential(nn.SyncBatchNorm(3))).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert freeze_batchnorm(network) is network
    assert [type(module) for module in (network[1], network[2][0])] == [FrozenBatchNorm2d] * 2
    assert network[1].eps == 1e-2 and network[1].training
    assert not freeze_batchnorm(trained_norm().eval()).training
    after = network.state_dict()
    assert {name for name in before if name not in after} == {
        f"{n}.num_batches_tracked" for n in ("1", "2.0")
    }
    assert all(torch.equal(value, before[name]) for name, value in after.items())
    network.load_state_dict(before, strict=True)  # the counters of a trainable network's file do no harm


def test_frozen_values_are_copies():
    norm = trained_norm()
    frozen = freeze_batchnorm(norm)
    norm.running_mean.add_(1)
    assert not torch.equal(frozen.running_mean, norm.running_mean)


class NormWithReLU(nn.BatchNorm2d):
    """Like timm's BatchNormAct2d: replaced as if it were its parent, it would lose its ReLU in silence."""

    def forward(self, x):
        return super().forward(x).relu()


@pytest.mark.parametrize(
    ("norm", "message"),
    [
        (NormWithReLU(3), r"^cannot freeze NormWithReLU, which may do more .*; put nn\.BatchNorm2d or"),
        (nn.BatchNorm1d(3), "^cannot freeze BatchNorm1d"),
        (nn.BatchNorm2d(3, affine=False), "needs affine=True"),
        (nn.BatchNorm2d(3, track_running_stats=False), "track_running_stats=True$"),
    ],
)
def test_freezing_refuses_what_it_would_change(norm, message):
    with pytest.raises(OptionError, match=message):
        freeze_batchnorm(nn.Sequential(norm))


@pytest.mark.parametrize("frozen", [False, True])
def test_calibration_by_hand(frozen):
    # Batch 1 holds 0, 2: mean 1, unbiased variance 2. Batch 2 holds 4, 10: mean 7, unbiased variance 18.
    # Averages over the batches: mean 4, variance 10.
    network = nn.Sequential(freeze_batchnorm(nn.BatchNorm2d(1)) if frozen else nn.BatchNorm2d(1))
    batches = [torch.tensor(values).view(2, 1, 1, 1) for values in ([0.0, 2.0], [4.0, 10.0])]
    calibrate_batchnorm(network, batches)
    assert (network[0].running_mean.item(), network[0].running_var.item()) == pytest.approx((4.0, 10.0))


def test_calibration_sees_what_training_sees():
    # The second normalisation gets the output of a first one that uses its batch's own statistics.
    torch.manual_seed(0)
    ours = nn.Sequential(trained_norm(), nn.Conv2d(3, 3, 3), nn.ReLU(), trained_norm())
    batches = [torch.randn(4, 3, 6, 6) * 3 + 1 for _ in range(3)]
    theirs = nn.Sequential(*ours).train()
    moments = []
    with torch.no_grad():
        for batch in batches:
            theirs[3].reset_running_stats()
            theirs[3].momentum = 1.0  # the statistics become the batch's
            theirs(batch)
            moments.append((theirs[3].running_mean.clone(), theirs[3].running_var.clone()))
    calibrate_batchnorm(ours.train(), batches)
    for name, values in zip(("running_mean", "running_var"), zip(*moments, strict=True), strict=True):
        torch.testing.assert_close(getattr(ours[3], name), torch.stack(values).mean(0))


def test_calibration_leaves_modes_hooks_and_unreached_layers():
    reached, unreached = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    without = nn.BatchNorm2d(3, track_running_stats=False)
    network = nn.Sequential(nn.Sequential(reached, without), nn.Dropout(1.0)).train()
    network[0][0].eval()
    network.spare = unreached
    network.forward = lambda x: network[1](network[0](x))
    calibrate_batchnorm(network, [torch.randn(4, 3, 4, 4) + 5])
    assert reached.running_mean.mean() > 4
    assert not unreached.running_mean.any() and torch.equal(unreached.running_var, torch.ones(3))
    assert network.training and network[1].training and not reached.training
    assert not reached._forward_pre_hooks


def test_calibration_understands_vectors():
    network = nn.Sequential(nn.BatchNorm1d(2))
    calibrate_batchnorm(network, [torch.tensor([[0.0, 1.0], [2.0, 1.0]])])
    assert network[0].running_mean.tolist() == [1.0, 1.0]
    assert network[0].running_var.tolist() == [2.0, 0.0]


def test_calibration_tames_random_weights():
    torch.manual_seed(0)
    network = create_backbone("resnet50", out_features=("res5",), norm="frozen")
    images = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        before = network(images)["res5"].abs().max()
        calibrate_batchnorm(network, [images])
        after = network(images)["res5"].abs().max()
    assert after < 50 < before


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "no batch; give at least one"),
        ([torch.ones(4, 2, 3, 3), torch.ones(1, 2, 1, 1)], "more than one value per channel: larger"),
    ],
)
def test_failed_calibration_changes_nothing(batches, message):
    network = nn.Sequential(nn.BatchNorm2d(2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(OptionError, match=message):
        calibrate_batchnorm(network, batches)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training and not network[0]._forward_pre_hooks


def test_one_epsilon_for_all():
    network = nn.Sequential(trained_norm(), nn.Sequential(freeze_batchnorm(trained_norm())))
    assert norm_eps(network) == 1e-2
    set_norm_eps(network[1], 1e-3)
    with pytest.raises(OptionError, match=r"one epsilon, found \[0.001, 0.01\]$"):
        norm_eps(network)
    set_norm_eps(network, 1e-4)
    assert norm_eps(network) == network[0].eps == network[1][0].eps == 1e-4


def test_without_normalisation_the_epsilon_is_torchs():
    assert norm_eps(nn.Conv2d(3, 3, 1)) == nn.BatchNorm2d(3).eps == 1e-5


def test_scale_and_shift_alone_cannot_be_trained():
    norm = trained_norm()
    assert not lacks_statistics(norm) and not lacks_statistics(nn.BatchNorm2d(3))
    norm.running_var = torch.ones(3) - 1e-5  # so conversion makes the network's own epsilon vanish
    assert lacks_statistics(nn.Sequential(trained_norm(), norm))
    assert not lacks_statistics(freeze_batchnorm(norm))
