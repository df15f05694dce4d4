"""Searching pictures: views and pixels, dense testing against crops by hand, R-CNN on proposals."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backbones.spec import IMAGENET_INPUT, FeatureSpec
from detection.data.transforms import View
from detection.localization.box_lists import pack_lists
from detection.localization.localization_config import (
    LocalizationConfig,
    LocalizationData,
    LocalizationTesting,
)
from detection.localization.localizer import RegionLocalizer, RpnLocalizer
from detection.localization.one_class_pictures import OneClassPictures
from detection.localization.picture_search import find_again, find_boxes, search, to_file, views
from detection.localization.region_crops import BOX_WEIGHTS, warp
from detection.model.boxes import decode_boxes
from detection.model.per_class_rpn import PerClassRpn, PerClassRpnConfig
from training.config import RunConfig

STRIDE = 32


class Patches(nn.Module):
    """A trunk whose cells see a square of 32 pixels each, and nothing else."""

    input_spec = IMAGENET_INPUT

    def __init__(self) -> None:
        super().__init__()
        self.feature_specs = {"res5": FeatureSpec(6, STRIDE)}
        self.conv = nn.Conv2d(3, 6, STRIDE, stride=STRIDE)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"res5": self.conv(images)}


def settings(**testing: object) -> LocalizationConfig:
    """Crops of 96 pixels, and all boxes kept that are not the same."""
    options = {"protocol": "dense", "best": 500, "nms_threshold": 1.0, **testing}
    return LocalizationConfig(
        data=LocalizationData(kind="shapes", image_size=96),
        testing=LocalizationTesting(**options),
        run=RunConfig(workers=0, device="cpu"),
    )


@pytest.fixture
def model() -> RpnLocalizer:
    """Three classes, one anchor a cell."""
    torch.manual_seed(0)
    options = PerClassRpnConfig(channels=8, anchor_ratios=(1.0,))
    model = RpnLocalizer(Patches(), PerClassRpn(FeatureSpec(6, STRIDE), 3, (64.0,), options))
    for parameter in model.rpn.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model.eval().requires_grad_(False)


def picture(height: int, width: int) -> Tensor:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return torch.from_numpy(noise)


def test_dense_testing_is_cropping_at_every_cell(model: RpnLocalizer):
    """The centre of a crop of 3 x 3 cells sees all of it; a dense map has such a cell for every crop."""
    pixels = picture(160, 192)
    planes = pixels.permute(2, 0, 1)[None]
    dense, boxes = model.search(planes, torch.tensor([[2]]))
    dense, boxes = dense.view(5, 6), boxes.view(5, 6, 4)
    crops = 0
    for row in range(1, 4):
        for column in range(1, 5):
            top, left = STRIDE * (row - 1), STRIDE * (column - 1)
            crop = planes[:, :, top : top + 96, left : left + 96]
            logits, placed = model.search(crop, torch.tensor([[2]]))
            torch.testing.assert_close(logits.view(3, 3)[1, 1], dense[row, column])
            moved = placed.view(3, 3, 4)[1, 1] + torch.tensor([left, top, left, top])
            torch.testing.assert_close(moved, boxes[row, column])
            crops += 1
    assert crops == 12


def test_a_dense_search_keeps_the_best_boxes_of_all_scales(model: RpnLocalizer):
    pixels, config = picture(160, 192), settings(scales=(96, 160))
    found = find_boxes(model, 0, pixels, [3, 1], config=config)
    for (boxes, scores), label in zip(found, (3, 1), strict=True):
        expected = []
        for view in views((160, 192), config):
            image = view.image(pixels.permute(2, 0, 1))[None]
            logits, placed = model.search(image, torch.tensor([[label]]))
            for logit, box in zip(logits[0, 0], to_file(placed[0, 0], view), strict=True):
                limits = torch.tensor([192.0, 160.0, 192.0, 160.0])
                expected.append((float(logit.sigmoid()), box.clamp(min=0).minimum(limits)))
        expected = [(score, box.tolist()) for score, box in expected if ((box[2:] - box[:2]) >= 1e-3).all()]
        expected.sort(key=lambda pair: -pair[0])
        assert len(scores) == len(expected) > 20
        assert scores.tolist() == pytest.approx([score for score, _ in expected])
        assert boxes[0].tolist() == pytest.approx(expected[0][1], abs=1e-4)


def test_one_crop_is_the_centre(model: RpnLocalizer):
    config = settings(protocol="one_crop")
    (view,) = views((220, 330), config)
    # 256 / 224 of 96 pixels is 109.7: 110 x 165, and 96 x 96 in its middle.
    assert view == View((220, 330), (110, 165), (7, 34, 96, 96))
    # Half the size: (0, 0) of the view is (34, 7) in resized pixels, twice that in the file's.
    assert to_file(torch.tensor([[0.0, 0.0, 10.0, 20.0]]), view).tolist() == [[68, 14, 88, 54]]
    ((boxes, scores),) = find_boxes(model, 0, picture(220, 330), [2], config=config)
    assert len(boxes) == len(scores) == 9 and (scores.diff() <= 0).all()


def test_scales_follow_the_size_of_crops():
    sides = [min(view.resized) for view in views((200, 300), settings())]
    assert sides == [96, 110, 165, 206, 274]  # 224, 256, 384, 480, 640 times 96 / 224
    assert [view.resized for view in views((200, 300), settings(scales=(100,)))] == [(100, 150)]


def test_suppression_and_the_number_of_boxes(model: RpnLocalizer):
    pixels = picture(160, 192)
    ((everything, _),) = find_boxes(model, 0, pixels, [1], config=settings(scales=(160,)))
    ((suppressed, _),) = find_boxes(model, 0, pixels, [1], config=settings(scales=(160,), nms_threshold=0.3))
    ((three, _),) = find_boxes(model, 0, pixels, [1], config=settings(scales=(160,), best=3))
    assert len(suppressed) < len(everything) == 30 and torch.equal(three, everything[:3])


def test_a_search_of_all_pictures(model: RpnLocalizer, two_pictures: OneClassPictures):
    config, about = settings(scales=(96,)), {"weights": "w"}
    lists = search(model.train(), two_pictures, [[1, 2], []], config, about)
    assert model.training
    assert (lists.ids, lists.classes, lists.about) == (["picture0", "picture1"], ["cat", "dog"], about)
    assert lists.pictures.tolist() == [0, 0] and lists.labels.tolist() == [1, 2]
    boxes, scores = lists.of(0, 2)
    assert len(boxes) == len(scores) > 0 and len(lists.of(1, 1)[0]) == 0


@pytest.fixture
def regions() -> RegionLocalizer:
    torch.manual_seed(0)
    model = RegionLocalizer(Patches(), 3, box_loss_beta=1.0)
    for layer in (model.classifier, model.regressor):
        nn.init.normal_(layer.weight, std=0.2)
    return model.eval().requires_grad_(False)


def test_rcnn_looks_at_every_proposal(regions: RegionLocalizer):
    pixels, config = picture(100, 140), settings(best=3)
    boxes = torch.tensor(
        [[0.0, 0.0, 60.0, 50.0], [20.0, 10.0, 90.0, 90.0], [5.0, 5.0, 30.0, 80.0], [1.0, 1.0, 9.0, 9.0]]
    )
    proposals = pack_lists(["a"], ["x", "y", "z"], [(0, 2, boxes, torch.tensor([0.9, 0.8, 0.7, 0.6]))], {})
    found = find_again(regions, 0, pixels, [2, 1], config=config, proposals=proposals)
    images = warp(pixels.numpy(), boxes[:3], 96)  # the fourth is beyond testing.best
    logits, deltas = regions.read(images, torch.tensor([2, 2, 2]))
    order = logits.argsort(descending=True)
    expected = decode_boxes(deltas, boxes[:3], weights=BOX_WEIGHTS)[order]
    expected = expected.clamp(min=0).minimum(torch.tensor([140.0, 100.0, 140.0, 100.0]))
    torch.testing.assert_close(found[0][0], expected)
    torch.testing.assert_close(found[0][1], logits[order].sigmoid())
    assert [len(part) for part in found[1]] == [0, 0]  # nobody proposed anything of class 1


def test_rcnn_searches_pictures_with_their_proposals(
    regions: RegionLocalizer, two_pictures: OneClassPictures
):
    given = [(0, 2, torch.tensor([[0.0, 0.0, 60.0, 50.0]]), torch.ones(1))]
    proposals = pack_lists(["picture0", "picture1"], two_pictures.classes, given, {})
    config = replace(settings(), step="rpn")
    lists = search(regions, two_pictures, [[2], []], config, {}, proposals)
    assert len(lists.of(0, 2)[0]) == 1 and lists.pictures.tolist() == [0]
