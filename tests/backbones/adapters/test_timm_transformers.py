"""Hugging Face's AutoBackbone finds our networks through timm."""

import pytest
import torch

import backbones.adapters.timm  # noqa: F401 (registers the names)
from backbones import create_backbone

transformers = pytest.importorskip("transformers", reason="needs transformers")


def test_auto_backbone_gives_our_features_and_trains():
    torch.manual_seed(0)
    config = transformers.TimmBackboneConfig(
        backbone="rb_resnet18", use_pretrained_backbone=False, out_indices=(1, 4)
    )
    theirs = transformers.AutoBackbone.from_config(config).eval()
    ours = create_backbone("resnet18", out_features=("res2", "res5")).eval()
    ours.load_state_dict(
        {name.removeprefix("_backbone."): value for name, value in theirs.state_dict().items()}
    )
    images = torch.randn(2, 3, 75, 91)
    maps = theirs(images).feature_maps
    assert theirs.channels == [64, 512]
    for found, expected in zip(maps, ours(images).values(), strict=True):
        torch.testing.assert_close(found, expected)
    sum(features.sum() for features in maps).backward()
    assert all(parameter.grad is not None for parameter in theirs.parameters())
