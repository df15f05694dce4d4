"""Box refinement and box voting: cases by hand, and beside slow, obvious versions on random numbers."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import box_iou

from detection.heads.candidates import Candidates, Detections
from detection.improve.box_refinement import refine, vote
from detection.model.rpn import Proposals


def moved(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Two classes; the boxes of the second, the more probable one, lie a pixel to the right."""
    scores = torch.tensor([0.2, 0.5]).expand(*boxes.shape[:2], 2) + boxes[..., :1] / 100
    return scores, torch.stack([boxes, boxes + torch.tensor([1.0, 0, 1, 0])], dim=2)


def test_regions_are_read_again_from_the_box_of_their_most_probable_class():
    proposals = Proposals(torch.tensor([[[0.0, 0, 4, 4], [8, 8, 9, 9]]]), torch.tensor([[True, False]]))
    found = refine(moved, proposals, 2)
    assert found.valid.tolist() == [[True, False] * 3]
    assert found.boxes[0, :, 0, 0].tolist() == [0, 8, 1, 9, 2, 10]
    assert found.boxes[0, :, 1, 0].tolist() == [1, 9, 2, 10, 3, 11]
    torch.testing.assert_close(found.scores[0, ::2, 1], torch.tensor([0.50, 0.51, 0.52]))
    once = refine(moved, proposals, 0)
    assert all(torch.equal(a[:, :2], b) for a, b in zip(found, once, strict=True))


def candidates_of(boxes: list[list[float]], scores: list[list[float]]) -> Candidates:
    """Regions of one picture with one box for all classes."""
    corners = torch.tensor([boxes])[:, :, None].expand(-1, -1, len(scores[0]), -1)
    return Candidates(torch.tensor([scores]), corners, torch.ones(1, len(boxes), dtype=torch.bool))


def found_of(boxes: list[list[float]], labels: list[int]) -> Detections:
    valid = torch.ones(1, len(boxes), dtype=torch.bool)
    return Detections(torch.tensor([boxes]), torch.full(valid.shape, 0.9), torch.tensor([labels]), valid)


def test_a_box_becomes_the_mean_of_its_class_around_it_weighted_by_score():
    # The second overlaps the first by 9/11, the third by 1/3, and the fourth exactly by 1/2.
    boxes = [[0.0, 0, 10, 10], [1.0, 0, 11, 10], [5.0, 0, 15, 10], [0.0, 0, 10, 5]]
    candidates = candidates_of(boxes, [[0.6, 0.0], [0.3, 0.0], [0.9, 0.0], [0.1, 0.8]])
    voted = vote(found_of(boxes[:1], [1]), candidates)
    torch.testing.assert_close(voted, torch.tensor([[[0.3, 0, 10.3, 9.5]]]))  # (.6·0 + .3·1 + .1·0) / 1 …
    # Of the second class only the fourth has a say, whose score of the first was below every threshold.
    assert vote(found_of(boxes[3:], [2]), candidates).tolist() == [boxes[3:]]


def test_without_voters_boxes_stay_and_rows_that_are_empty_too():
    candidates = candidates_of([[0.0, 0, 4, 4], [20, 20, 24, 24]], [[0.5], [0.5]])
    found = found_of([[50.0, 50, 60, 60], [0, 0, 0, 0]], [1, 1])
    found = found._replace(valid=torch.tensor([[True, False]]))
    assert torch.equal(vote(found, candidates), found.boxes)
    absent = candidates._replace(valid=torch.tensor([[False, True]]))
    near = found_of([[0.0, 0, 4, 5]], [1])
    assert torch.equal(vote(near, absent), near.boxes)


def slow_vote(found: Detections, candidates: Candidates) -> Tensor:
    boxes = found.boxes.clone()
    for n, d in found.valid.nonzero().tolist():
        total, weight = torch.zeros(4, dtype=torch.float64), 0.0
        label = int(found.labels[n, d]) - 1
        for r in candidates.valid[n].nonzero()[:, 0].tolist():
            voter, score = candidates.boxes[n, r, label], float(candidates.scores[n, r, label])
            if box_iou(found.boxes[n, d][None], voter[None]).item() >= 0.5:
                total, weight = total + score * voter.double(), weight + score
        if weight:
            boxes[n, d] = (total / weight).float()
    return boxes


@given(st.integers(0, 2**32))
def test_as_a_slow_obvious_version(seed: int):
    draw = torch.Generator().manual_seed(seed)
    corners = torch.rand(2, 12, 3, 2, generator=draw) * 20
    boxes = torch.cat([corners, corners + 10 + torch.rand(2, 12, 3, 2, generator=draw) * 20], dim=3)
    scores = torch.rand(2, 12, 3, generator=draw)
    candidates = Candidates(scores, boxes, torch.rand(2, 12, generator=draw) < 0.8)
    labels = torch.randint(1, 4, (2, 5), generator=draw)
    valid = torch.rand(2, 5, generator=draw) < 0.8
    found = Detections(boxes[:, :5, 0] + 1, scores[:, :5, 0], labels, valid)
    torch.testing.assert_close(vote(found, candidates), slow_vote(found, candidates), atol=1e-4, rtol=1e-5)
