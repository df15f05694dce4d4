"""The C4 detector's parts fit, or are refused when it is built."""

import pytest
import torch

from backbones import create_trunk_and_head
from detection.model.c4 import RegionFeatures, build_c4
from engine.errors import UserError


def test_a_head_of_another_network_is_refused():
    trunk, _ = create_trunk_and_head("resnet18")
    _, head = create_trunk_and_head("resnet50")
    with pytest.raises(UserError, match="the head takes 1024 channels, the feature map has 256"):
        build_c4(trunk, head, 3)


def test_regions_of_constant_features_are_all_alike():
    trunk, head = create_trunk_and_head("resnet18")
    regions = RegionFeatures(head, trunk.feature_specs["res4"], size=4).eval()
    boxes = torch.tensor([[[0.0, 0, 64, 64], [30, 10, 90, 40]]])
    first, second = regions(torch.ones(1, 256, 8, 8), boxes)
    assert first.shape == (512,)
    torch.testing.assert_close(first, second)
