"""The C4 detector's parts fit, or are refused when it is built."""

from collections.abc import Callable

import pytest
import torch

from backbones import create_trunk_and_head
from detection.model.detector_kinds import StageRegions, build_c4
from foundation.errors import UserError


def test_a_head_of_another_network_is_refused(detector_options: Callable):
    trunk, _ = create_trunk_and_head("resnet18")
    _, head = create_trunk_and_head("resnet50")
    with pytest.raises(UserError, match="the head takes 1024 channels, the feature map has 256"):
        build_c4(trunk, head, 3, detector_options("c4", rpn={}, roi={}))


def test_regions_of_constant_features_are_all_alike():
    trunk, head = create_trunk_and_head("resnet18")
    regions = StageRegions(head, trunk.feature_specs["res4"], size=4).eval()
    boxes = torch.tensor([[[0.0, 0, 64, 64], [30, 10, 90, 40]]])
    first, second = regions.vectors(regions.maps([torch.ones(1, 256, 8, 8)], boxes))
    assert first.shape == (512,)
    torch.testing.assert_close(first, second)


def test_vgg16_is_trunk_and_head_of_fast_rcnn(batches: Callable, detector_options: Callable):
    torch.manual_seed(0)
    trunk, head = create_trunk_and_head("vgg16", frozen_stages=2)
    options = detector_options("c4", rpn={"channels": 16, "post_nms_train": 8}, roi={"size": 7})
    model = build_c4(trunk, head, 4, options).train()
    assert model.rpn.specs[0].stride == 16 and model.roi_heads.classifier.in_features == 4096
    losses = model(batches([(64, 96)], [2]))
    sum(losses.values()).backward()
    learning = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert {"trunk.features.10.weight", "roi_heads.region_features.head.classifier.0.weight"} <= learning
    assert not any(name.startswith(("trunk.features.0.", "trunk.features.7.")) for name in learning)


def test_a_dilated_head_keeps_the_size_of_the_grid():
    trunk, head = create_trunk_and_head("resnet18", dilation=("res5",))
    regions = StageRegions(head, trunk.feature_specs["res4"], size=4).eval()
    maps = regions.maps([torch.ones(1, 256, 8, 8)], torch.tensor([[[0.0, 0, 64, 64]]]))
    assert maps.shape == (1, 512, 4, 4) and regions.vectors(maps).shape == (1, 512)
    assert regions.head(torch.ones(1, 256, 4, 4)).shape == (1, 512, 4, 4)
