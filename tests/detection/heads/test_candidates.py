"""What is chosen of the candidates, beside torchvision's suppression class by class."""

import torch
from torchvision.ops import nms

from detection.heads.candidates import Candidates, choose
from detection.heads.roi_options import RoiConfig


def test_as_suppression_class_by_class():
    draw = torch.Generator().manual_seed(0)
    corners = torch.rand(1, 40, 3, 2, generator=draw) * 40
    boxes = torch.cat([corners, corners + 10], dim=3)
    scores = torch.rand(1, 40, 3, generator=draw)
    valid = torch.rand(1, 40, generator=draw) < 0.7
    options = RoiConfig(score_threshold=0.2, nms_threshold=0.4, detections_per_image=200)
    found = choose(Candidates(scores, boxes, valid), options)
    expected = set()
    for label in (1, 2, 3):
        rows = (valid[0] & (scores[0, :, label - 1] > 0.2)).nonzero()[:, 0]
        kept = rows[nms(boxes[0, rows, label - 1], scores[0, rows, label - 1], 0.4)]
        expected |= {(label, *boxes[0, row, label - 1].tolist()) for row in kept}
    kept = found.valid[0]
    labels, corners = found.labels[0][kept].tolist(), found.boxes[0][kept].tolist()
    assert {(label, *box) for label, box in zip(labels, corners, strict=True)} == expected
    assert len(expected) == len(labels) > 20
    assert found.scores[0][kept].tolist() == sorted(found.scores[0][kept].tolist(), reverse=True)


def test_nothing_is_found_where_there_is_no_region():
    scores, boxes = torch.ones(2, 3, 4), torch.tensor([0.0, 0, 9, 9]).expand(2, 3, 4, 4)
    nothing = Candidates(scores, boxes, torch.zeros(2, 3, dtype=torch.bool))
    found = choose(nothing, RoiConfig(detections_per_image=5))
    assert found.boxes.shape == (2, 5, 4) and not found.valid.any()
