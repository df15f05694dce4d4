"""What a detector gives for a picture."""

import sys
from dataclasses import FrozenInstanceError
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from detection.results.detection_result import DetectionResult
from detection.results.pasted_masks import paste_masks
from detection.types import Prediction
from foundation.errors import UserError


def make(*, masks: bool = False, count: int = 2) -> DetectionResult:
    """A dog and a cat in a picture of 8 x 6 (width x height)."""
    boxes = torch.tensor([[1.0, 2.0, 5.0, 6.0], [0.0, 0.0, 8.0, 3.0]])[:count]
    drawn = paste_masks(torch.ones(count, 2, 2), boxes, (6, 8)) if masks else None
    labels, scores = torch.tensor([2, 1])[:count], torch.tensor([0.9, 0.75])[:count]
    pixels = np.full((6, 8, 3), 100, dtype=np.uint8)
    return DetectionResult(pixels, Prediction(boxes, labels, scores, masks=drawn), ["cat", "dog"], [17, 18])


def test_objects_one_by_one():
    result = make()
    assert (len(result), result.names, result.labels.tolist()) == (2, ["dog", "cat"], [2, 1])
    first, second = result
    assert (first.name, first.label, first.box) == ("dog", 2, (1.0, 2.0, 5.0, 6.0))
    assert second.score == 0.75 and result.masks is None
    assert repr(result) == "DetectionResult(2 objects in 8x6 pixels: dog 0.90, cat 0.75)"
    with pytest.raises(FrozenInstanceError):
        result.classes = []


def test_nothing_found():
    nothing = make(masks=True, count=0)
    assert (len(nothing), list(nothing), nothing.to_coco()) == (0, [], [])
    assert repr(nothing) == "DetectionResult(0 objects in 8x6 pixels)" and nothing.masks.shape == (0, 6, 8)
    assert np.array_equal(np.asarray(nothing.draw()), nothing.pixels)


def test_masks_cover_their_boxes():
    masks = make(masks=True).masks
    assert masks.shape == (2, 6, 8) and masks.dtype == bool
    assert masks[0, 2:6, 1:5].all() and masks[0].sum() == 16 and masks[1].sum() == 24


def test_drawing_shows_objects_of_any_score():
    result = make()
    drawn = result.draw()
    assert drawn.size == (8, 6) and not np.array_equal(np.asarray(drawn), result.pixels)


def test_records_have_the_sets_own_ids():
    dog, cat = make(masks=True).to_coco(image_id="a.jpg")
    assert (dog["image_id"], dog["category_id"], dog["bbox"]) == ("a.jpg", 18, [1.0, 2.0, 4.0, 4.0])
    assert cat["category_id"] == 17 and cat["segmentation"]["size"] == [6, 8]


def test_supervision_gets_arrays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=lambda **given: given))
    given = make(masks=True).to_supervision()
    assert given["class_id"].tolist() == [1, 0] and given["data"]["class_name"].tolist() == ["dog", "cat"]
    assert given["xyxy"].shape == (2, 4) and given["mask"].shape == (2, 6, 8)
    np.testing.assert_array_equal(given["confidence"], np.array([0.9, 0.75], np.float32))


def test_without_supervision_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(UserError, match="needs supervision .*; pip install supervision"):
        make().to_supervision()
