"""timm's plain transformers as backbones: the map of their patches, any size of picture, strict weights."""

import logging
from pathlib import Path

import pytest
import timm
import torch

from backbones import (
    FeatureSpec,
    InputSpec,
    OptionError,
    WeightsError,
    WeightsHeader,
    create_backbone,
    create_trunk_and_head,
    save_weights,
)
from backbones.norm import fold_batchnorm

TINY = "timm/vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def whole() -> torch.nn.Module:
    """timm's classifier with random weights, in eval mode."""
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224").eval()


@pytest.fixture
def file(whole: torch.nn.Module, tmp_path: Path) -> Path:
    torch.save(whole.state_dict(), tmp_path / "vit.pth")
    return tmp_path / "vit.pth"


def test_the_map_is_that_of_the_last_block(whole: torch.nn.Module, file: Path):
    images = torch.randn(2, 3, 224, 224)
    ours = create_backbone(TINY, out_features=("res4",), weights=file, norm="frozen").eval()
    seen = []
    whole.blocks[-1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        whole(images)
        (found,) = ours(images).values()
    assert ours.feature_specs == {"res4": FeatureSpec(192, 16)} and ours.out_channels == 192
    # Token 0 is the class token; row 2, column 3 of 14 x 14 patches is patch 31, token 32.
    assert found.shape == (2, 192, 14, 14)
    torch.testing.assert_close(found[:, :, 2, 3], seen[0][:, 32], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[:, :, 13, 13], seen[0][:, 196], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "channels", "mean"),
    [
        (TINY, 192, 0.5),
        ("timm/vit_tiny_patch16_224.augreg_in21k", 192, 0.5),
        ("timm/deit3_small_patch16_224", 384, 0.485),
        ("timm/vit_small_patch16_dinov3", 384, 0.485),
    ],
)
def test_any_size_of_picture_and_every_parameter_learns(name: str, channels: int, mean: float):
    network = create_backbone(name, out_features=("res4",))
    (found,) = network(torch.randn(1, 3, 64, 96)).values()
    assert found.shape == (1, channels, 4, 6) and network.input_spec.mean[0] == mean
    found.square().sum().backward()
    assert [key for key, value in network.named_parameters() if value.grad is None] == []
    assert network.get_parameter("body.transformer.patch_embed.proj.weight").grad.abs().sum() > 0


def test_one_frozen_stage_is_the_whole_transformer():
    network = create_backbone(TINY, out_features=("res4",), frozen_stages=1)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    with pytest.raises(OptionError, match=r"frozen_stages must be 0 … 1 \(res4\), got 2"):
        create_backbone(TINY, out_features=("res4",), frozen_stages=2)


def test_frozen_normalisation_and_folding_change_nothing(file: Path):
    free = create_backbone(TINY, out_features=("res4",), weights=file).eval()
    frozen = create_backbone(TINY, out_features=("res4",), weights=file, norm="frozen").eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = free(images)["res4"]
        assert torch.equal(frozen(images)["res4"], expected)
        assert torch.equal(fold_batchnorm(frozen)(images)["res4"], expected)
    assert all(parameter.requires_grad for parameter in frozen.parameters())
    with pytest.raises(OptionError, match="vit_tiny_patch16_224 has no batch normalisation; leave out norm"):
        create_backbone(TINY, out_features=("res4",), norm="sync")


def test_weights_must_fit_but_for_what_is_not_used(
    whole: torch.nn.Module, file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    state = whole.state_dict()
    with caplog.at_level(logging.WARNING):
        create_backbone(TINY, out_features=("res4",), weights=file)
    assert "vit.pth has no header. Assumed: pictures as InputSpec(mean=(0.5" in caplog.text
    torch.save({name: value for name, value in state.items() if "blocks.11" not in name}, tmp_path / "11.pth")
    with pytest.raises(WeightsError, match=r"11\.pth → timm/vit_tiny.*\n(.|\n)*12 missing in the file"):
        create_backbone(TINY, out_features=("res4",), weights=tmp_path / "11.pth")
    with pytest.raises(WeightsError, match=r"pos_embed: file \(1, 197, 192\), network \(1, 577, 192\)"):
        create_backbone("timm/vit_tiny_patch16_384", out_features=("res4",), weights=file)
    spec = InputSpec(mean=(0.1,) * 3, std=(0.2,) * 3)
    header = WeightsHeader("timm/vit_tiny_patch16_224.augreg_in21k", {}, spec, norm_eps=1e-5)
    save_weights(tmp_path / "own.safetensors", state, header)
    assert create_backbone(TINY, weights=tmp_path / "own.safetensors").input_spec == spec  # tags may differ
    with pytest.raises(WeightsError, match=r"is of timm/vit_tiny_.*, not of timm/vit_small_patch16_224"):
        create_backbone("timm/vit_small_patch16_224", weights=tmp_path / "own.safetensors")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "timm/vit_small_patch14_dinov2",
            "has patches of 14 pixels, .* patches of 16, such as timm/vit_base",
        ),
        ("timm/vit_tiny_patch16_225", "unknown network of timm 'vit_tiny_patch16_225'; did you mean"),
        ("timm/vit_small_patch32_224", "unknown feature 'res4'; did you mean 'res5'"),
    ],
)
def test_what_does_not_serve_is_refused(name: str, message: str):
    with pytest.raises(OptionError, match=message):
        create_backbone(name, out_features=("res4",))


def test_one_stage_cannot_be_cut_in_two():
    with pytest.raises(OptionError, match="is one stage, res4, and cannot be cut .*detector.kind=simple_fpn"):
        create_trunk_and_head(TINY)
