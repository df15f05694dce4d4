"""Both sides of the benchmark get the same, and the table says what was measured. No timing decides here."""

import numpy as np
import pytest
import torch

from detection.evaluate.records import to_coco_annotations
from reproduction import benchmark as module
from reproduction.benchmark import Timing, benchmark, compare, evaluation_calls, pycocotools_ap, random_boxes


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
    (name, ours, peer), (_, voc, voc_peer) = evaluation_calls(pictures=20, per_picture=30)
    assert name == "COCO bbox AP, 20 pictures, 600 detections"
    scores, precision = ours(), peer()[:, :, :, 0, 2]  # any size, 100 a picture
    assert precision.shape == (10, 101, 20)
    assert scores.stats[0] == precision[precision > -1].mean() and 0.05 < scores.stats[0] < 0.95
    assert scores.stats[1] == precision[0][precision[0] > -1].mean()
    for label in range(20):
        known = precision[:, :, label][precision[:, :, label] > -1]
        assert scores.class_ap[label] == known.mean()
    # VOC's area and COCO's 101 recalls are different sums over one curve.
    assert voc_peer().shape == (1, 101, 20, 1, 1)
    assert voc().mean == pytest.approx(scores.stats[1], abs=0.02)


def test_the_reference_leaves_its_input_alone():
    truth, found = random_boxes(1, 2)
    annotations = to_coco_annotations(truth, [f"{k}" for k in range(20)], list(range(1, 21)))
    records = [{"image_id": 1, "category_id": 1, "bbox": [0.0, 0.0, 5.0, 5.0], "score": 0.5}]
    before = repr((annotations, records))
    np.testing.assert_array_equal(pycocotools_ap(annotations, records), pycocotools_ap(annotations, records))
    assert repr((annotations, records)) == before


def test_rounds_in_turn_and_their_medians(monkeypatch: pytest.MonkeyPatch):
    # Seconds of ours 1, 2, 4 and of the peer 3, 4, 4: medians 2 and 4, ratios 3, 2, 1.
    calls, durations = [], iter([1.0, 3.0, 2.0, 4.0, 4.0, 4.0])
    monkeypatch.setattr(module, "_seconds", lambda call: (call(), next(durations))[1])
    timing = compare("x", lambda: calls.append("ours"), lambda: calls.append("peer"), rounds=3)
    assert calls == ["ours", "peer"] * 4  # the first pair warms up
    assert timing == Timing("x", 2.0, 4.0, 2.0)


def test_the_table(monkeypatch: pytest.MonkeyPatch):
    assert Timing("x", 0.0104, 0.5, 2.345).line() == "| x | 10 | 500 | 2.35 |"
    monkeypatch.setattr(module, "compare", lambda name, ours, peer, rounds: Timing(name, 1, rounds, rounds))
    monkeypatch.setattr(module, "memory_table", lambda device: ["memory"])
    monkeypatch.setattr(module, "recompute_table", lambda: ["recomputed"])
    monkeypatch.setattr(module, "pixel_errors", lambda: ["pixels"])
    for part in module.PARTS:
        monkeypatch.setitem(
            module.PARTS, part, lambda device, part=part: [(part, lambda: None, lambda: None)]
        )
    lines = benchmark(3, "cpu").splitlines()
    assert "CPU" in lines[0] and torch.__version__ in lines[0] and lines[0].endswith("3 rounds")
    assert lines[1:4] == ["", "| what | ours, ms | peer, ms | peer / ours |", "|---|---|---|---|"]
    assert lines[4:] == [
        *(f"| {part} | 1000 | 3000 | 3.00 |" for part in module.PARTS),
        *("", "memory", "", "recomputed", "", "pixels"),
    ]
    assert benchmark(3, "cpu", ["evaluation"]).splitlines()[4:] == ["| evaluation | 1000 | 3000 | 3.00 |"]
