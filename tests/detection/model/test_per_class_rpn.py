"""The per-class RPN against convolutions of all classes, and what it learns from."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from backbones.spec import FeatureSpec
from detection.model.box_targets import match, random_keys, sample
from detection.model.boxes import box_iou, decode_boxes, encode_boxes
from detection.model.per_class_rpn import PerClassRpn, PerClassRpnConfig, sizes_of_anchors
from detection.types import Batch

CLASSES, SIZES = 4, (16.0, 32.0)


@pytest.fixture
def rpn() -> PerClassRpn:
    """Four classes, six anchors a cell, and weights large enough to tell the classes apart."""
    torch.manual_seed(0)
    network = PerClassRpn(FeatureSpec(5, 16), CLASSES, SIZES, PerClassRpnConfig(channels=7))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


@pytest.fixture
def features() -> Tensor:
    return torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def batch() -> Batch:
    """Two crops, of class 3 with two objects and of class 1 with one."""
    boxes = torch.zeros(2, 8, 4)
    boxes[0, :2] = torch.tensor([[0.0, 0.0, 30.0, 30.0], [20.0, 10.0, 60.0, 44.0]])
    boxes[1, 0] = torch.tensor([5.0, 5.0, 40.0, 20.0])
    labels = torch.zeros(2, 8, dtype=torch.int64)
    labels[0, :2], labels[1, 0] = 3, 1
    return Batch(
        images=torch.zeros(2, 3, 64, 64, dtype=torch.uint8),
        sizes=torch.tensor([[64, 64], [64, 64]]),
        scales=torch.ones(2, 2),
        boxes=boxes,
        labels=labels,
        valid=labels > 0,
        seeds=torch.tensor([11, 12]),
        ids=["a", "b"],
    )


def every_class(rpn: PerClassRpn, features: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (N, K, R) and deltas (N, K, R, 4) as two plain convolutions give them."""
    hidden = F.relu(rpn.conv(features))
    logits, deltas = rpn.objectness(hidden), rpn.deltas(hidden)
    n, _, height, width = logits.shape
    logits = logits.view(n, CLASSES, 6, height, width).permute(0, 1, 3, 4, 2)
    deltas = deltas.view(n, CLASSES, 6, 4, height, width).permute(0, 1, 4, 5, 2, 3)
    return logits.reshape(n, CLASSES, -1), deltas.reshape(n, CLASSES, -1, 4)


def test_some_classes_are_those_of_convolutions_over_all(rpn: PerClassRpn, features: Tensor):
    logits, deltas = every_class(rpn, features)
    asked = torch.tensor([[3, 1], [2, 4]])
    found, boxes = rpn(features, asked)
    for picture, labels in enumerate(asked.tolist()):
        for place, label in enumerate(labels):
            torch.testing.assert_close(found[picture, place], logits[picture, label - 1])
            expected = decode_boxes(deltas[picture, label - 1], rpn.anchors(features))
            torch.testing.assert_close(boxes[picture, place], expected)


def test_single_anchors_are_those_of_the_whole_map(rpn: PerClassRpn, features: Tensor):
    logits, deltas = every_class(rpn, features)
    rows, labels = torch.tensor([[0, 71, 30], [5, 6, 7]]), torch.tensor([4, 2])
    found, moved = rpn.at(features, rows, labels)
    for picture in (0, 1):
        own = logits[picture, labels[picture] - 1], deltas[picture, labels[picture] - 1]
        torch.testing.assert_close(found[picture], own[0][rows[picture]])
        torch.testing.assert_close(moved[picture], own[1][rows[picture]])


def test_the_losses_are_those_of_a_loop_over_the_sample(rpn: PerClassRpn, features: Tensor, batch: Batch):
    features = torch.cat([features, features[:, :, :1]], dim=2)  # 4 x 4 cells of 16 pixels
    logits, deltas = every_class(rpn, features)
    anchors, options = rpn.anchors(features), rpn.options
    objectness, boxes = [], []
    for picture, label in enumerate([3, 1]):
        objects = batch.boxes[picture : picture + 1]
        matches = match(
            box_iou(objects, anchors[None]),
            batch.valid[picture : picture + 1],
            torch.ones(1, len(anchors), dtype=torch.bool),
            positive_iou=0.7,
            negative_iou=0.3,
            low_quality=True,
        )
        keys = random_keys(batch.seeds[picture : picture + 1], torch.arange(len(anchors)), stream=0)
        chosen = sample(matches, keys, 8, 0.5)
        rows = chosen.rows[0][chosen.valid[0]].tolist()
        positive = chosen.positive[0][chosen.valid[0]].tolist()
        assert len(rows) == 8 and 1 <= sum(positive) <= 4
        log_loss = box_loss = torch.zeros(())
        for row, is_object in zip(rows, positive, strict=True):
            logit = logits[picture, label - 1, row]
            log_loss = log_loss - F.logsigmoid(logit if is_object else -logit)
            if is_object:
                target = encode_boxes(objects[0, matches.best[0, row]], anchors[row])
                off = (deltas[picture, label - 1, row] - target).abs()
                beta = options.box_loss_beta
                box_loss = box_loss + torch.where(off < beta, off**2 / (2 * beta), off - beta / 2).sum()
        objectness.append(log_loss / 8)
        boxes.append(box_loss / 8)
    losses = rpn.losses(features, batch)
    torch.testing.assert_close(losses["loss_objectness"], sum(objectness) / 2)
    torch.testing.assert_close(losses["loss_box"], sum(boxes) / 2)


def test_gradients_reach_the_classes_of_the_batch_alone(rpn: PerClassRpn, features: Tensor, batch: Batch):
    features = torch.cat([features, features[:, :, :1]], dim=2)
    sum(rpn.losses(features, batch).values()).backward()
    for layer in (rpn.objectness, rpn.deltas):
        per_class = layer.weight.grad.view(CLASSES, -1).abs().sum(dim=1)
        assert (per_class > 0).tolist() == [True, False, True, False]
        assert (layer.bias.grad.view(CLASSES, -1).abs().sum(dim=1) > 0).tolist() == [True, False, True, False]


def test_anchors_stand_on_the_strides(rpn: PerClassRpn, features: Tensor):
    anchors = rpn.anchors(features)
    assert anchors.shape == (3 * 4 * 6, 4)
    # The ratio 1 and the size 16 are the third of a cell's six; the second cell lies 16 pixels to the right.
    assert anchors[2].tolist() == [-8, -8, 8, 8]
    assert anchors[8].tolist() == [8, -8, 24, 8]


def test_anchors_are_quarters_of_the_crop_unless_they_are_given():
    assert sizes_of_anchors(PerClassRpnConfig(), 224) == (56, 112, 168, 224)
    assert sizes_of_anchors(PerClassRpnConfig(anchor_sizes=(10.0, 20.0)), 224) == (10, 20)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"negative_iou": 0.8}, r"negative_iou must be at most positive_iou 0\.7, got 0\.8"),
        ({"anchor_ratios": ()}, r"anchor_ratios must be one or more numbers above 0, got \[\]"),
        ({"anchor_sizes": (0.0,)}, r"anchor_sizes must be numbers above 0, got \[0\.0\]"),
        ({"anchors_per_image": 0}, "anchors_per_image must be at least 1, got 0"),
    ],
)
def test_wrong_options_are_refused(options: dict, text: str):
    with pytest.raises(ValueError, match=text):
        PerClassRpnConfig(**options)
