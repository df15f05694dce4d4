"""Both sides score the same boxes and find the same figures. No timing decides here."""

from itertools import islice

import numpy as np
import pytest
import torch

from benchmarks.evaluation_speed import detectron2_calls, evaluation_calls, pycocotools_ap, random_boxes
from detection.results.result_records import to_coco_annotations


def test_boxes_are_the_same_every_time():
    (truth, found), (again, found_again) = random_boxes(3, 20), random_boxes(3, 20)
    for one, other in zip(truth + found, again + found_again, strict=True):
        assert torch.equal(one.boxes, other.boxes) and torch.equal(one.labels, other.labels)
        assert one.image_id == other.image_id
    assert [len(target.boxes) for target in truth] == [8] * 3
    assert [len(prediction.boxes) for prediction in found] == [20] * 3
    for entry in truth + found:
        assert (entry.boxes[:, 2:] > entry.boxes[:, :2]).all()
    assert not torch.equal(truth[0].boxes, truth[1].boxes)


def test_both_find_the_same_coco_figures():
    # One after the other: files lie on the disk while their row is at hand.
    found = {name: (ours(), peer()) for name, ours, peer in islice(evaluation_calls(20, 30), 4)}
    boxes, from_files, masks, voc = found
    assert boxes == "COCO bbox AP, 20 pictures, 600 detections" and from_files.startswith("COCO bbox AP from")
    scores, precision = found[boxes][0], found[boxes][1][:, :, :, 0, 2]  # any size, 100 a picture
    for ours, theirs in zip(found[from_files], found[boxes], strict=True):
        assert np.array_equal(getattr(ours, "stats", ours), getattr(theirs, "stats", theirs))
    of_masks = found[masks][1][:, :, :, 0, 2]
    assert found[masks][0].stats[0] == of_masks[of_masks > -1].mean()
    assert precision.shape == (10, 101, 20)
    assert scores.stats[0] == precision[precision > -1].mean() and 0.05 < scores.stats[0] < 0.95
    assert scores.stats[1] == precision[0][precision[0] > -1].mean()
    for label in range(20):
        known = precision[:, :, label][precision[:, :, label] > -1]
        assert scores.class_ap[label] == known.mean()
    # VOC's area and COCO's 101 recalls are different sums over one curve.
    assert found[voc][1].shape == (1, 101, 20, 1, 1)
    assert found[voc][0].mean == pytest.approx(scores.stats[1], abs=0.02)


def test_the_reference_leaves_its_input_alone():
    truth, found = random_boxes(1, 2)
    annotations = to_coco_annotations(truth, [f"{k}" for k in range(20)], list(range(1, 21)))
    records = [{"image_id": 1, "category_id": 1, "bbox": [0.0, 0.0, 5.0, 5.0], "score": 0.5}]
    before = repr((annotations, records))
    np.testing.assert_array_equal(pycocotools_ap(annotations, records), pycocotools_ap(annotations, records))
    assert repr((annotations, records)) == before


@pytest.mark.detectron2
def test_equal_to_detectron2s_evaluator():
    """At all thresholds together; its scores have three digits and its corners one."""
    pytest.importorskip("detectron2", reason="needs detectron2; docs/detectron2.md says how to install it")
    calls = detectron2_calls(30, 20)  # its folder is there as long as this is not exhausted
    _, ours, peer = next(calls)
    assert 100 * np.mean(ours()) == pytest.approx(peer()["bbox"]["AP"], abs=0.5)
