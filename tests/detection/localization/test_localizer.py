"""The two networks: what they read, and their losses against plain arithmetic."""

import pytest
import torch
from torch.nn import functional as F

from backbones import create_backbone
from detection.localization.localizer import RegionLocalizer, RpnLocalizer
from detection.localization.region_crops import BOX_WEIGHTS, RegionBatch
from detection.model.boxes import decode_boxes
from detection.model.per_class_rpn import PerClassRpn, PerClassRpnConfig


@pytest.fixture
def pixels() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, 3, 64, 64), generator=generator, dtype=torch.uint8)


@pytest.fixture
def regions() -> RegionLocalizer:
    torch.manual_seed(0)
    network = RegionLocalizer(create_backbone("resnet18", out_features=["res5"]), 4, box_loss_beta=1.0).eval()
    for layer in (network.classifier, network.regressor):
        torch.nn.init.normal_(layer.weight, std=0.1)
    return network


def test_the_rpn_reads_normalised_pictures(pixels: torch.Tensor):
    trunk = create_backbone("resnet18", out_features=["res4"])
    network = RpnLocalizer(trunk, PerClassRpn(trunk.feature_specs["res4"], 2, (32.0,), PerClassRpnConfig()))
    network.eval()
    features = network.features(pixels)
    assert torch.equal(features, trunk(trunk.input_spec.normalise(pixels))["res4"])
    logits, boxes = network.search(pixels, torch.tensor([[1, 2]] * 3))
    assert logits.shape == (3, 2, 4 * 4 * 3) and boxes.shape == (3, 2, 48, 4)


def test_a_region_is_read_for_its_own_class(regions: RegionLocalizer, pixels: torch.Tensor):
    labels = torch.tensor([4, 1, 4])
    logits, deltas = regions.read(pixels, labels)
    pooled = regions.trunk(regions.trunk.input_spec.normalise(pixels))["res5"].mean(dim=(2, 3))
    whole, boxes = regions.classifier(pooled), regions.regressor(pooled).view(3, 4, 4)
    for row, label in enumerate(labels.tolist()):
        torch.testing.assert_close(logits[row], whole[row, label - 1])
        torch.testing.assert_close(deltas[row], boxes[row, label - 1])


def test_the_losses_of_regions(regions: RegionLocalizer, pixels: torch.Tensor):
    labels, positive = torch.tensor([2, 2, 3]), torch.tensor([True, False, True])
    targets = torch.tensor([[0.1, 0.2, 0.0, 3.0], [9.0, 9.0, 9.0, 9.0], [0.0, 0.0, 0.0, 0.0]])
    losses = regions(RegionBatch(pixels, labels, positive, targets, ["a", "b", "c"]))
    logits, deltas = regions.read(pixels, labels)
    expected = -(F.logsigmoid(logits[0]) + F.logsigmoid(-logits[1]) + F.logsigmoid(logits[2])) / 3
    torch.testing.assert_close(losses["loss_region"], expected)
    off = (deltas - targets).abs()[[0, 2]]  # the background has no box
    smooth = torch.where(off < 1, off**2 / 2, off - 0.5).sum() / 3
    torch.testing.assert_close(losses["loss_region_box"], smooth)


def test_only_the_classes_of_the_regions_learn(regions: RegionLocalizer, pixels: torch.Tensor):
    labels, positive = torch.tensor([2, 2, 3]), torch.tensor([True, True, True])
    sum(regions(RegionBatch(pixels, labels, positive, torch.ones(3, 4), ["a"] * 3)).values()).backward()
    learnt = [False, True, True, False]
    assert (regions.classifier.weight.grad.abs().sum(dim=1) > 0).tolist() == learnt
    assert (regions.regressor.weight.grad.view(4, -1).abs().sum(dim=1) > 0).tolist() == learnt


def test_a_better_box_is_told_in_the_pixels_of_the_region(regions: RegionLocalizer, pixels: torch.Tensor):
    places, labels = torch.tensor([[0.0, 0.0, 10.0, 20.0]] * 3), torch.tensor([1, 2, 3])
    logits, boxes = regions.rescore(pixels, places, labels)
    expected, deltas = regions.read(pixels, labels)
    assert torch.equal(logits, expected)
    assert torch.equal(boxes, decode_boxes(deltas, places, weights=BOX_WEIGHTS))
