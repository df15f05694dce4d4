"""Which regions are learnt from, what their losses are, and what is detected; all of them by hand."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from detection.heads.roi_heads import RoiHeads, _scale_gradient
from detection.heads.roi_options import RoiConfig
from detection.model.rpn import Proposals
from detection.types import Batch
from foundation.errors import UserError


class Areas(nn.Module):
    """The contract of RegionFeatures: a region's vector is its width and its height."""

    out_channels = 2

    def maps(self, features: list[Tensor], boxes: Tensor, size: int | None = None) -> Tensor:
        return (boxes[..., 2:] - boxes[..., :2]).flatten(0, 1)

    def vectors(self, maps: Tensor) -> Tensor:
        return maps


def make(num_classes: int = 2, *, class_agnostic: bool = False, **options: float) -> RoiHeads:
    """Heads whose logits and deltas are all 0."""
    config = replace(RoiConfig(regions_per_image=4, detections_per_image=3), **options)
    heads = RoiHeads([Areas()], num_classes, config, class_agnostic=class_agnostic)
    for parameter in heads.parameters():
        nn.init.zeros_(parameter)
    return heads


@pytest.fixture
def batch(batches: Callable[..., Batch]) -> Batch:
    """One picture with an object of class 2 in its corner."""
    empty = batches([(64, 96)], [0], num_classes=2)
    boxes, labels, valid = empty.boxes.clone(), empty.labels.clone(), empty.valid.clone()
    boxes[0, 0], labels[0, 0], valid[0, 0] = torch.tensor([0.0, 0, 20, 10]), 2, True
    return replace(empty, boxes=boxes, labels=labels, valid=valid)


def proposals(*boxes: list[float]) -> Proposals:
    return Proposals(torch.tensor([boxes]), torch.ones(1, len(boxes), dtype=torch.bool))


def test_the_object_itself_is_a_region_and_its_targets_are_zero(batch: Batch):
    regions = make().sample_regions(proposals([40.0, 40, 60, 60], [30.0, 30, 50, 50]), batch)
    # A quarter of four may be objects: the true box; both proposals are background; the fourth slot is empty.
    assert regions.valid.tolist() == [[True, True, True, False]]
    assert regions.labels[0, :3].tolist() == [2, 0, 0]
    assert regions.boxes[0, 0].tolist() == [0, 0, 20, 10] and regions.targets[0, 0].tolist() == [0] * 4


def test_targets_are_weighted(batch: Batch):
    # Half as high as the proposal: IoU 1/2, so an object; the centre is 5 of 20 pixels higher.
    heads = make(positive_fraction=0.5)
    regions = heads.sample_regions(proposals([0.0, 0, 20, 20]), batch)
    (row,) = [i for i in range(2) if regions.boxes[0, i].tolist() == [0, 0, 20, 20]]
    expected = torch.tensor([0, -5 / 20 * 10, 0, math.log(0.5) * 5])
    torch.testing.assert_close(regions.targets[0, row], expected)


def test_easy_background_is_left_out_on_request(batch: Batch):
    far = proposals([40.0, 40, 60, 60])
    assert make().sample_regions(far, batch).valid.sum() == 2
    assert make(negative_floor=0.1).sample_regions(far, batch).valid.sum() == 1


@pytest.mark.parametrize("class_agnostic", [False, True])
def test_losses_of_heads_that_know_nothing(batch: Batch, class_agnostic: bool):
    heads = make(class_agnostic=class_agnostic, positive_fraction=0.5, box_loss_beta=0.0)
    losses = heads.losses([], proposals([0.0, 0, 20, 20]), batch)
    assert losses["loss_roi_class"].item() == pytest.approx(math.log(3))  # of three classes, background one
    # Two regions; the deltas are 0, so L1 is the sum of the proposal's targets.
    assert losses["loss_roi_box"].item() == pytest.approx((2.5 + 5 * math.log(2)) / 2)
    assert "loss_mask" not in losses


def test_detections_need_a_score_and_are_suppressed_within_a_class(batch: Batch):
    found = proposals([0.0, 0, 20, 10], [0.0, 0, 20, 9], [40.0, 40, 60, 60])
    heads = make(score_threshold=0.3)  # every class has 1/3
    with torch.no_grad():
        detections = heads.detect([], found, batch.sizes)
        # Two classes of two distinct regions are four; there is room for three, of equal score in order.
        assert detections.valid.tolist() == [[True] * 3] and detections.labels.tolist() == [[1, 2, 1]]
        assert detections.boxes[0, :, 0].tolist() == [0, 0, 40]
        torch.testing.assert_close(detections.scores, torch.full((1, 3), 1 / 3))
        heads.options = replace(heads.options, score_threshold=0.34)
        assert not heads.detect([], found, batch.sizes).valid.any()


def test_masks_are_not_learnt_from_a_batch_without(detectors: Callable, batches: Callable[..., Batch]):
    with pytest.raises(UserError, match="learns masks, and the batch has none; read the data set with"):
        detectors("mask").train()(batches([(64, 96)], [3]))


def cascade(batch: Batch) -> RoiHeads:
    """Two stages of one class; the first moves every region to the left by a fifth of its width."""
    config = RoiConfig(regions_per_image=4, detections_per_image=3, stages=2, positive_fraction=0.5)
    heads = RoiHeads([Areas(), Areas()], 1, config, class_agnostic=True)
    for parameter in heads.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        heads.regressor.bias[0] = -2.0  # times the width, over a weight of 10
    return heads


def test_a_cascade_predicts_from_the_boxes_of_the_stage_before(batch: Batch):
    heads = cascade(batch)
    with torch.no_grad():
        heads.later_stages[0].classifier.bias[1] = math.log(3)  # 3/4, after 1/2 of the first stage
        found = heads.detect([], proposals([40.0, 40, 60, 60]), batch.sizes)
    assert found.valid.tolist() == [[True, False, False]]
    torch.testing.assert_close(found.boxes[0, 0], torch.tensor([36.0, 40, 56, 60]))
    assert found.scores[0, 0].item() == pytest.approx((1 / 2 + 3 / 4) / 2)


def test_later_stages_learn_from_the_boxes_of_the_stage_before(batch: Batch):
    """The object is (0, 0, 20, 10); its own region moves to (0, 0, 16, 10): IoU 0.8, so still an object."""
    labels = batch.labels.clamp(max=1)
    losses = cascade(batch).losses(
        [],
        Proposals(torch.zeros(1, 0, 4), torch.zeros(1, 0, dtype=torch.bool)),
        replace(batch, labels=labels),
    )
    assert set(losses) == {"loss_roi_class", "loss_roi_box", "loss_roi_class_2", "loss_roi_box_2"}
    assert losses["loss_roi_class_2"].item() == pytest.approx(math.log(2))
    # One region: of the first stage 0 against −2 (smooth L1: 2 − 1/2); the second's targets are these two.
    assert losses["loss_roi_box"].item() == pytest.approx(1.5)
    first, second = 2 / 16 * 20, math.log(20 / 16) * 10
    assert losses["loss_roi_box_2"].item() == pytest.approx(first - 0.5 + second - 0.5)


def test_a_stage_asks_for_more_iou(batch: Batch):
    heads = cascade(batch)
    with torch.no_grad():
        heads.regressor.bias[0] = -5.0  # to (0, 0, 10, 10): IoU 1/2, below 0.6
    losses = heads.losses(
        [],
        Proposals(torch.zeros(1, 0, 4), torch.zeros(1, 0, dtype=torch.bool)),
        replace(batch, labels=batch.labels.clamp(max=1)),
    )
    assert losses["loss_roi_box_2"].item() == 0


def test_the_trunk_gets_the_mean_of_the_gradients_of_all_stages():
    values = torch.tensor([2.0, 3.0], requires_grad=True)
    scaled = [_scale_gradient(values, 1 / 2) for _ in range(2)]
    assert torch.equal(scaled[0], values)
    (scaled[0].sum() + 3 * scaled[1].sum()).backward()
    assert values.grad.tolist() == [2, 2]


@pytest.mark.parametrize("kind", ["c4", "fpn", "mask"])
@pytest.mark.parametrize("context", [False, True])
def test_cascades_of_every_kind_train_and_find(
    detectors: Callable, batches: Callable[..., Batch], with_masks: Callable, kind: str, context: bool
):
    model = detectors(kind, stages=3, context=context, testing={"refine": 1}).train()
    losses = model(with_masks(batches([(64, 96), (96, 64)], [2, 3])))
    sum(losses.values()).backward()
    assert {"loss_roi_class_3", "loss_roi_box_3"} <= set(losses)
    for reader, _ in model.roi_heads.stages:
        assert all(parameter.grad is not None for parameter in reader.parameters())
    found = model.eval()(batches([(64, 96), (96, 64)], [0, 0]))
    assert found.valid.any() and (found.masks is not None) == (kind == "mask")


@pytest.mark.parametrize("kind", ["c4", "mask"])
def test_refined_detections_are_those_of_the_union(
    detectors: Callable, batches: Callable[..., Batch], kind: str
):
    """Beside proposals that hold the corrected boxes already, without any voting."""
    batch = batches([(64, 96)], [0])
    model = detectors(kind, testing={"refine": 1, "vote": False}).eval()
    heads = model.roi_heads
    with torch.no_grad():
        features = model.extract(batch)
        first, _ = model.propose(batch, features)
        read = lambda reader, boxes: reader.read(features, boxes, batch.sizes)[1]  # noqa: E731
        scores, boxes = heads.score(read, batch.sizes, first.boxes)
        best = scores.argmax(dim=2)
        again = torch.stack([boxes[0, r, best[0, r]] for r in range(boxes.shape[1])])[None]
        union = Proposals(torch.cat([first.boxes, again], dim=1), first.valid.repeat(1, 2))
        expected = detectors(kind).eval().roi_heads.detect(features, union, batch.sizes)
        found = heads.detect(features, first, batch.sizes)
    assert found.valid.sum() > 3
    for one, two in zip(found, expected, strict=True):
        if one is not None:
            torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)
