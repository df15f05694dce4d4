"""The parts of each kind of detector fit, or are refused when it is built; a new kind is one entry."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from backbones import create_backbone, create_trunk_and_head
from backbones.features import FeatureNetwork
from detection.build import build_detector
from detection.config import DetectionConfig
from detection.model.detector_kinds import KINDS, DetectorKind, build_c4, build_dc5, build_fpn
from foundation.errors import UserError
from training.config import load_config


def test_a_head_of_another_network_is_refused(detector_options: Callable):
    trunk, _ = create_trunk_and_head("resnet18")
    _, head = create_trunk_and_head("resnet50")
    with pytest.raises(UserError, match="the head takes 1024 channels, the feature map has 256"):
        build_c4(trunk, head, 3, detector_options("c4", rpn={}, roi={}))


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


def test_a_detector_of_one_map_refuses_two(detector_options: Callable):
    network = create_backbone("resnet18", out_features=("res4", "res5"))
    with pytest.raises(UserError, match=r"reads one feature map, the trunk gives \['res4', 'res5'\]"):
        build_dc5(network, 3, detector_options("dc5", rpn={}, roi={}))


def test_a_pyramid_needs_four_strides(detector_options: Callable):
    network = create_backbone("resnet18", out_features=("res3", "res4"))
    with pytest.raises(
        UserError, match=r"needs features of strides \(4, 8, 16, 32\), resnet18 gives \(8, 16\)"
    ):
        build_fpn(network, 3, detector_options("fpn", rpn={}, roi={}))


def test_a_new_kind_is_one_entry_of_the_table(
    tiny_options: list[str], batches: Callable, monkeypatch: pytest.MonkeyPatch
):
    """A kind that pools from res3: a configuration may name it, and it trains."""

    def networks(**backbone: Any) -> tuple[FeatureNetwork]:
        return (create_backbone(out_features=("res3",), **backbone),)

    open_options = {"anchor_sizes": (32.0,), "pre_nms_train": 50, "pre_nms_test": 50}
    toy = DetectorKind(networks, build_dc5, rpn=open_options, roi={"size": 3})
    scratch = ["backbone.norm=batch", "backbone.frozen_stages=0", "backbone.weights=null"]
    tiny = [option for option in tiny_options if not option.startswith(("roi.size", "rpn.anchor_sizes"))]
    options = [*tiny, *scratch, "detector.kind=toy", "roi.channels=8", "roi.regions_per_image=8"]
    with pytest.raises(UserError, match="detector.kind: unknown kind of detector 'toy'"):
        load_config(DetectionConfig, None, options)
    monkeypatch.setitem(KINDS, "toy", toy)
    config = load_config(DetectionConfig, None, options)
    assert (config.rpn.anchor_sizes, config.roi.size) == ((32.0,), 3)
    torch.manual_seed(0)
    model = build_detector(config, 2).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    totals = []
    for _ in range(2):
        losses = model(batches([(64, 96), (60, 80)], [3, 1], num_classes=2))
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert model.rpn.specs[0].stride == 8 and totals[1] < totals[0]
