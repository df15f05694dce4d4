"""What the region proposal network learns from and proposes; test_detector_parity.py compares its numbers."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from detection.model import rpn as module
from detection.model.box_targets import Sample
from detection.model.detector import FasterRCNN
from detection.model.rpn import Proposals, RpnHead
from detection.types import Batch


def sampled_anchors(model: FasterRCNN, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> set[tuple]:
    """The anchors that the first picture of the batch is trained on."""
    chosen: list[Sample] = []
    sample = module.sample
    features = model.train().extract(batch)
    with monkeypatch.context() as patch:
        patch.setattr(module, "sample", lambda *a, **k: chosen.append(sample(*a, **k)) or chosen[0])
        model.rpn(features, batch)
    (anchors,) = model.rpn.anchors(features)
    rows = chosen[0].rows[0][chosen[0].valid[0]]
    return {tuple(anchor) for anchor in anchors[rows].tolist()}


@pytest.mark.parametrize("inside_only", [False, True])
def test_the_sample_does_not_depend_on_the_other_pictures(
    detector: Callable, batches: Callable, monkeypatch: pytest.MonkeyPatch, inside_only: bool
):
    model = detector(rpn={"anchors_inside_only": inside_only})
    alone = batches([(100, 150)], [3])
    together = batches([(100, 150), (200, 310)], [3, 2])  # the same first picture in twice the padding
    seeds = torch.cat([alone.seeds, together.seeds[1:]])
    boxes = torch.cat([alone.boxes, together.boxes[1:]])
    together = replace(together, seeds=seeds, boxes=boxes)
    expected = sampled_anchors(model, alone, monkeypatch)
    assert len(expected) == 32
    assert sampled_anchors(model, together, monkeypatch) == expected
    other = replace(alone, seeds=alone.seeds + 1)
    assert sampled_anchors(model, other, monkeypatch) != expected


def test_anchors_across_the_border_are_left_out_on_request(
    detector: Callable, batches: Callable, monkeypatch: pytest.MonkeyPatch
):
    batch = batches([(100, 150)], [3])

    def crosses(inside_only: bool) -> list[bool]:
        model = detector(rpn={"anchors_inside_only": inside_only})
        found = sampled_anchors(model, batch, monkeypatch)
        return [x1 < 0 or y1 < 0 or x2 > 150 or y2 > 100 for x1, y1, x2, y2 in found]

    assert any(crosses(False)) and not any(crosses(True))


@pytest.mark.parametrize("training", [False, True])
def test_proposals_do_not_depend_on_what_the_padding_says(detector: Callable, training: bool):
    # A picture of 100 x 150 has anchors centred at 0, 16, … 96 and 0, 16, … 144: on 7 rows and 10 columns.
    rpn = detector(rpn={"pre_nms_train": 200, "pre_nms_test": 300}).rpn.train(training)
    logits, deltas = torch.randn(1, 7, 10, 6), torch.randn(1, 7, 10, 6, 4) / 4
    sizes = torch.tensor([[100, 150]])

    def proposals(rows: int, columns: int) -> Proposals:
        more = (0, columns - 10, 0, rows - 7)
        scores = F.pad(logits, (0, 0, *more), value=50.0)  # in the padding better than any other
        moves = F.pad(deltas, (0, 0, 0, 0, *more), value=-0.5)  # to the left and up, onto the picture
        anchors = rpn.anchors([torch.zeros(1, 12, rows, columns)])
        return rpn.propose([scores.flatten(1)], [moves.flatten(1, 3)], anchors, sizes)

    expected = proposals(7, 10)
    assert expected.valid.sum() > 20
    for rows, columns in ((8, 10), (7, 11), (12, 20)):
        found = proposals(rows, columns)
        assert torch.equal(found.boxes, expected.boxes) and torch.equal(found.valid, expected.valid)


def test_a_small_picture_proposes_from_its_own_anchors_alone(detector: Callable, batches: Callable):
    # One cell is centred on 16 x 16 pixels, at (0, 0), with 6 anchors; 140 are on the other picture.
    model = detector().eval()
    small, large = model.propose(batches([(16, 16), (160, 224)], [0, 0]))[0].valid.sum(dim=1).tolist()
    assert 1 <= small <= 6 < large


def test_predictors_compute_in_float32_whatever_the_precision(detector: Callable, batches: Callable):
    # Random logits of a linear layer in bfloat16 have 8 bits, so that most of them tie.
    model = detector().eval()
    features = model.extract(batches([(160, 224)], [0]))
    boxes = torch.tensor([[[0.0, 0, 50, 50], [3, 5, 60, 80]]])
    with torch.autocast("cpu", torch.bfloat16):
        maps = model.roi_heads.region_features.maps(features, boxes)
        vectors = model.roi_heads.regions.vectors(maps).unflatten(0, boxes.shape[:2])
        values = [*model.rpn.head(features[0]), *model.roi_heads.predict(vectors)]
    for value in values:
        assert value.dtype == torch.float32
        assert not torch.equal(value, value.bfloat16().float())


@pytest.mark.parametrize("bf16", [False, True])
def test_the_head_at_some_anchors_equals_the_head_everywhere(bf16: bool):
    """Every anchor of two maps, the smaller one cell high; values, and gradients of random factors."""
    torch.manual_seed(0)
    head = RpnHead(6, 5, num_anchors=3)
    maps = [torch.randn(2, 6, *size, requires_grad=True) for size in ((4, 5), (1, 2))]
    rows = torch.stack([torch.randperm(66), torch.randperm(66)])
    factors = torch.randn(2, 66, 5)

    def gradients(values: tuple[torch.Tensor, torch.Tensor]) -> list[torch.Tensor]:
        total = (torch.cat([values[0][..., None], values[1]], dim=2) * factors).sum()
        return list(torch.autograd.grad(total, [*maps, *head.parameters()]))

    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        with torch.no_grad():  # as in training, where autocast may keep what it cast here
            head(maps[0])
        everywhere = [torch.cat(values, dim=1) for values in zip(*map(head, maps), strict=True)]
        at = head.at(maps, rows)
        expected = everywhere[0].gather(1, rows), everywhere[1].take_along_dim(rows[..., None], dim=1)
    assert at[0].dtype == at[1].dtype == torch.float32
    tolerances = {"rtol": 0.05, "atol": 0.05} if bf16 else {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(at, expected, **tolerances)
    torch.testing.assert_close(gradients(at), gradients(expected), **tolerances)
