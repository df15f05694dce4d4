"""Fused convolutions compute what the modules in whose place they stand compute."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from backbones import create_backbone, create_model
from backbones.lesion import without_blocks
from backbones.networks.fused_blocks import FusedBlock, FusedConv2d, FusedStage, fuse_convolutions
from backbones.norm import folded_copy, inference_copy

WITHIN = {"rtol": 1e-4, "atol": 1e-5}


def on_onednn() -> bool:
    return torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


@pytest.mark.parametrize("activate", [False, True])
@pytest.mark.parametrize("with_term", [False, True])
def test_a_convolution_by_the_formula(activate, with_term):
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2).requires_grad_(False)
    fused, x = FusedConv2d(conv, activate=activate), torch.randn(2, 4, 9, 12)
    expected = F.conv2d(x, conv.weight, conv.bias, 2, 2, 2, 2)
    term = torch.randn_like(expected) if with_term else None
    expected = expected if term is None else expected + term
    torch.testing.assert_close(fused(x, term), expected.relu() if activate else expected, **WITHIN)
    assert fused.weight is conv.weight and set(fused.state_dict()) == {"weight", "bias"}


@pytest.mark.parametrize(
    ("name", "options", "blocks"),
    [
        ("resnet18", {}, 8),
        ("resnet50", {"stride_on": "1x1", "dilation": ["res5"]}, 16),
        ("resnext50_32x4d", {}, 16),
        ("plain18", {}, 8),
        ("resnet20_cifar", {}, 9),  # shortcut A
        ("resnet20_cifar", {"unit": "bn_after_addition"}, 0),  # its block is another
        ("preact_resnet18", {}, 0),
        ("vgg16", {}, 0),
    ],
)
def test_networks_answer_alike(name, options, blocks, randomise_norms):
    network = create_model(name, num_classes=5, **options).eval()
    randomise_norms(network)
    fused = inference_copy(network)
    assert sum(isinstance(module, FusedBlock) for module in fused.modules()) == blocks
    convolutions = [module for module in fused.modules() if isinstance(module, nn.Conv2d)]
    assert convolutions and all(type(module) is FusedConv2d for module in convolutions)
    for shape in ((2, 3, 64, 75), (1, 3, 32, 32), (0, 3, 64, 64)):
        with torch.inference_mode():
            images = torch.randn(shape)
            found, expected = fused(images), network(images)
        scale = expected.abs().max() if expected.numel() else torch.ones(())
        torch.testing.assert_close(found / scale, expected / scale, rtol=1e-4, atol=1e-5)


def test_features_are_not_written_over(randomise_norms):
    network = create_backbone("resnet18", out_features=("stem", "res2", "res3", "res4", "res5")).eval()
    randomise_norms(network)
    images = torch.randn(2, 3, 64, 64)
    before = images.clone()
    with torch.inference_mode():
        found, expected = inference_copy(network)(images), network(images)
    assert torch.equal(images, before)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, **WITHIN)


def test_a_block_keeps_its_input_and_a_stage_too():
    blocks = [create_model("resnet18").eval().layer1[i] for i in range(2)]
    stage = folded_copy(nn.Sequential(nn.Sequential(*blocks)).eval())
    fuse_convolutions(stage)
    assert isinstance(stage[0], FusedStage)
    x = torch.randn(1, 64, 8, 8)
    before = x.clone()
    with torch.inference_mode():
        stage(x), stage[0][0](x)
    assert torch.equal(x, before)


def test_deleted_blocks_stay_deleted():
    network, images = create_model("resnet18", num_classes=3).eval(), torch.randn(1, 3, 64, 64)
    with torch.inference_mode(), without_blocks(network, ["res3.1", "res4.0"]):
        torch.testing.assert_close(inference_copy(network)(images), network(images), **WITHIN)


def test_gradients_are_those_of_the_copy_with_blocks():
    network = create_model("resnet18", num_classes=3).eval()
    gradients = []
    for copied in (folded_copy(network), inference_copy(network)):
        images = torch.ones(1, 3, 48, 48, requires_grad=True)
        copied(images)[0, 1].backward()
        gradients.append(images.grad)
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients)


def test_copied_saved_and_given_other_weights():
    conv = FusedConv2d(nn.Conv2d(2, 3, 3).requires_grad_(False))
    x = torch.randn(1, 2, 5, 5)
    first = conv(x)
    for twin in (copy.deepcopy(conv), pickle.loads(pickle.dumps(conv))):
        assert torch.equal(twin(x), first)
    conv.load_state_dict({"weight": 2 * conv.weight, "bias": 2 * conv.bias})
    torch.testing.assert_close(conv(x), 2 * first, **WITHIN)  # not the weights that were ordered before
    conv.double()
    torch.testing.assert_close(conv(x.double()), 2 * first.double(), **WITHIN)
    with pytest.raises(RuntimeError):
        conv(x)  # as every convolution refuses other types than its weights'


def test_in_bfloat16():
    network = create_model("resnet18", num_classes=3).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found, expected = inference_copy(network)(images), folded_copy(network)(images)
    assert found.dtype == expected.dtype == torch.bfloat16
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()


def test_tracing_sees_standard_operations():
    conv = FusedConv2d(nn.Conv2d(2, 3, 3).requires_grad_(False), activate=True)
    traced = torch.jit.trace(conv, torch.randn(1, 2, 5, 5))
    exported = torch.export.export(conv, (torch.randn(1, 2, 5, 5),))
    for text in (str(traced.inlined_graph), str(exported.graph)):
        assert "conv" in text and "mkldnn" not in text


@pytest.mark.skipif(not on_onednn(), reason="needs AVX2")
def test_onednn_is_used(monkeypatch):
    conv = FusedConv2d(nn.Conv2d(2, 3, 3).requires_grad_(False))
    monkeypatch.setattr(F, "conv2d", None)
    monkeypatch.setattr(torch, "conv2d", None)
    monkeypatch.setattr(conv, "_conv_forward", None)
    assert conv(torch.randn(1, 2, 5, 5)).shape == (1, 3, 3, 3)


def test_relus_behind_convolutions_are_done_by_them():
    layers = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Identity(), nn.ReLU(), nn.ReLU(), nn.Flatten(), nn.ReLU())
    fuse_convolutions(layers)
    assert layers[0].activate and type(layers[2]) is nn.Identity
    assert type(layers[3]) is nn.ReLU and type(layers[5]) is nn.ReLU


def test_other_convolutions_stay():
    class OwnConv(nn.Conv2d):
        """Could do anything."""

    layers = nn.Sequential(
        OwnConv(1, 1, 1),
        nn.Conv2d(1, 1, 3, padding_mode="reflect", padding=1),
        nn.Conv2d(1, 1, 3, padding="same"),
    )
    fuse_convolutions(layers)
    assert not any(isinstance(layer, FusedConv2d) for layer in layers)
