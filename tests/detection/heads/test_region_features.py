"""What is read of a region has the shape it states, and is alike where the features are."""

import torch

from backbones import create_trunk_and_head
from detection.heads.region_features import StageRegions


def test_regions_of_constant_features_are_all_alike():
    trunk, head = create_trunk_and_head("resnet18")
    regions = StageRegions(head, trunk.feature_specs["res4"], size=4).eval()
    boxes = torch.tensor([[[0.0, 0, 64, 64], [30, 10, 90, 40]]])
    first, second = regions.vectors(regions.maps([torch.ones(1, 256, 8, 8)], boxes))
    assert first.shape == (512,)
    torch.testing.assert_close(first, second)


def test_a_dilated_head_keeps_the_size_of_the_grid():
    trunk, head = create_trunk_and_head("resnet18", dilation=("res5",))
    regions = StageRegions(head, trunk.feature_specs["res4"], size=4).eval()
    maps = regions.maps([torch.ones(1, 256, 8, 8)], torch.tensor([[[0.0, 0, 64, 64]]]))
    assert maps.shape == (1, 512, 4, 4) and regions.vectors(maps).shape == (1, 512)
    assert regions.head(torch.ones(1, 256, 4, 4)).shape == (1, 512, 4, 4)
