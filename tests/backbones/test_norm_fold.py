"""Batch normalisation folded into convolutions: the same function with less to do, for inference."""

import copy

import pytest
import torch
from torch import nn

from backbones import OptionError, create_backbone, create_model, create_trunk_and_head
from backbones.norm import FrozenBatchNorm2d, fold_batchnorm, folded_copy, freeze_batchnorm
from training.compile import compile_blocks, recompute_blocks

NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, FrozenBatchNorm2d)


def norms_in(network: nn.Module) -> set[str]:
    return {name for name, module in network.named_modules() if isinstance(module, NORMS)}


def test_fold_by_hand():
    # conv(x) = 2x + 1; norm(y) = (y - 3) / sqrt(8 + 1) * 6 + 5 = 2y - 1. Together 4x + 1.
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=1.0), nn.ReLU()).eval()
    values = {"0.weight": 2.0, "0.bias": 1.0, "1.weight": 6.0, "1.bias": 5.0}
    values |= {"1.running_mean": 3.0, "1.running_var": 8.0}
    for name, value in values.items():
        network.state_dict()[name].fill_(value)
    folded = fold_batchnorm(network)
    assert (folded[0].weight.item(), folded[0].bias.item()) == pytest.approx((4.0, 1.0))
    assert folded(torch.full((1, 1, 1, 1), 2.5)).item() == pytest.approx(11.0)


@pytest.mark.parametrize("norm", ["batch", "frozen", "sync"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("plain18", {}),
        ("resnet18", {"shortcut": "A"}),
        ("resnet34", {"shortcut": "C"}),
        ("resnet50", {"stride_on": "1x1", "dilation": ["res5"]}),
        ("resnext50_32x4d", {}),
        ("plain20_cifar", {}),
        ("resnet56_cifar", {"shortcut": "B"}),
    ],
)
def test_the_same_logits_without_normalisation(name, options, norm, randomise_norms, relative_difference):
    torch.manual_seed(0)
    network = create_model(name, **options).eval()
    randomise_norms(network)
    if norm == "frozen":
        freeze_batchnorm(network)
    elif norm == "sync":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
    folded = fold_batchnorm(network)
    assert norms_in(folded) == set()
    images = torch.randn(2, 3, 64, 75)
    with torch.no_grad():
        assert relative_difference(folded(images), network(images)) < 1e-5
    assert not folded.training and not any(p.requires_grad for p in folded.parameters())


@pytest.mark.parametrize("name", ["preact_resnet18", "preact_resnet50", "preact_resnet29_cifar"])
def test_pre_activation_behind_an_addition_stays(name, randomise_norms, relative_difference):
    torch.manual_seed(0)
    network = create_model(name).eval()
    randomise_norms(network)
    folded = fold_batchnorm(network)
    # In every block but the first bn1 reads a sum, and bn_last reads the last one.
    blocks = {norm.rpartition(".")[0] for norm in norms_in(network) if norm.endswith(".bn2")} - {"layer1.0"}
    assert norms_in(folded) == {f"{block}.bn1" for block in blocks} | {"bn_last"}
    images = torch.randn(2, 3, 64, 75)
    with torch.no_grad():
        assert relative_difference(folded(images), network(images)) < 1e-5


def test_networks_without_normalisation_stay_as_they_are():
    network = create_model("highway19_cifar").eval()
    folded, images = fold_batchnorm(network), torch.randn(1, 3, 32, 32)
    assert list(folded.state_dict()) == list(network.state_dict())
    with torch.no_grad():
        assert torch.equal(folded(images), network(images))


def test_feature_networks_and_heads(randomise_norms, relative_difference):
    torch.manual_seed(0)
    network = create_backbone("resnet50", out_features=("stem", "res2", "res4")).eval()
    trunk, head = (part.eval() for part in create_trunk_and_head("resnet18"))
    for part in (network, trunk, head):
        randomise_norms(part)
    images, regions = torch.randn(1, 3, 64, 75), torch.randn(2, 256, 7, 7)
    with torch.no_grad():
        for stage, feature in fold_batchnorm(network)(images).items():
            assert relative_difference(feature, network(images)[stage]) < 1e-5
        both = fold_batchnorm(nn.ModuleList([trunk, head]).eval())  # as a detector holds them
        assert norms_in(both) == set()
        assert relative_difference(both[0](images)["res4"], trunk(images)["res4"]) < 1e-5
        assert relative_difference(both[1](regions), head(regions)) < 1e-5


def test_the_network_itself_is_unchanged(randomise_norms):
    network = create_model("resnet20_cifar").eval()
    randomise_norms(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fold_batchnorm(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_channels_last_and_bfloat16(randomise_norms, relative_difference):
    torch.manual_seed(0)
    network = create_model("resnet18").eval().to(memory_format=torch.channels_last)
    randomise_norms(network)
    folded = fold_batchnorm(network)
    assert folded.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    images = torch.randn(1, 3, 64, 64).to(memory_format=torch.channels_last)
    with torch.no_grad():
        half = folded.bfloat16()(images.bfloat16())
        assert half.dtype == torch.bfloat16
        assert relative_difference(half.float(), network(images)) < 0.05


def test_training_is_refused():
    network = create_model("resnet20_cifar").eval()
    network.layer3[0].train()
    with pytest.raises(OptionError, match=r"cannot be trained; call eval\(\) on the network first"):
        fold_batchnorm(network)


class NormWithReLU(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x).relu()


@pytest.mark.parametrize("norm", [NormWithReLU(3), nn.BatchNorm2d(3, affine=False)])
def test_what_may_do_more_or_less_than_ours_stays(norm):
    network = nn.Sequential(nn.Conv2d(3, 3, 1), norm).eval()
    assert type(fold_batchnorm(network)[1]) is type(norm)


@pytest.mark.parametrize("change", [compile_blocks, recompute_blocks])
def test_the_copy_of_changed_blocks_is_independent(change, monkeypatch: pytest.MonkeyPatch):
    """What compiles or recomputes a block hangs on the block, and must not run the original for the copy."""
    monkeypatch.setattr(torch, "compile", lambda function: lambda *inputs: function(*inputs))
    network, images = create_model("resnet20_cifar").eval(), torch.randn(2, 3, 32, 32)
    change(network)
    expected = network(images)
    folded = fold_batchnorm(network)
    before = copy.deepcopy(network.state_dict())
    network.train()
    torch.testing.assert_close(folded(images), expected, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("training", [False, True])
def test_a_folded_copy(training, randomise_norms, relative_difference):
    torch.manual_seed(0)
    network = create_model("resnet18")
    randomise_norms(network)
    copied = folded_copy(network.train(training))
    assert network.training is training and not copied.training
    assert not norms_in(copied) and norms_in(network)
    images = torch.randn(2, 3, 64, 64)
    network.eval()
    with torch.no_grad():
        assert relative_difference(copied(images), network(images)) < 1e-5
    weight = copied.get_parameter("layer1.0.conv1.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    assert network.get_parameter("layer1.0.conv1.weight").is_contiguous()
