"""Several scales and several detectors: beside slow, obvious versions that take one region at a time."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detection.config import DetectionConfig
from detection.data.dataset_splits import DataConfig
from detection.data.detection_batches import view_batch
from detection.heads.candidates import Detections
from detection.improve.augmented_testing import Augmentation
from detection.improve.detector_panel import DetectorPanel, _mean_of_grids, _Sight, lower_scales
from detection.improve.inference_options import InferenceConfig
from detection.improve.picture_scales import PictureScales
from detection.model.boxes import clip_boxes, decode_boxes
from detection.model.detector import FasterRCNN
from detection.types import Batch
from tests.detection.model.conftest import detector, detectors  # noqa: F401

PICTURES = [np.random.default_rng(seed).integers(0, 256, (48, 60, 3), dtype=np.uint8) for seed in range(2)]


def config(short_side: int, *scales: int, region_side: float = 30.0) -> DetectionConfig:
    data = DataConfig(short_side=short_side, max_side=2000)
    return DetectionConfig(data=data, testing=InferenceConfig(scales=scales, region_side=region_side))


def batches_of(configs: Sequence[DetectionConfig]) -> list[Batch]:
    own = Augmentation(configs[0].data.short_side, configs[0].data.max_side)
    return [view_batch(PICTURES, one.view((48, 60))) for one in PictureScales(configs).at(own)]


def test_the_pair_of_scales_by_hand():
    # Scales 1/2, 1, 2, 4 and a side of 64: 16 is 64 at scale 4, 40 lies between 1 and 2, 200 above all.
    boxes = torch.tensor([[[0.0, 0, side, side] for side in (10, 16, 20, 40, 100, 200)] + [[0, 0, 80, 20]]])
    factors = torch.tensor([[[scale] * 4 for scale in (0.5, 1.0, 2.0, 4.0)]])
    assert lower_scales(boxes, factors, 64).tolist() == [[2, 2, 2, 1, 0, 0, 1]]


@pytest.mark.parametrize("kind", ["c4", "mask"])
def test_a_panel_of_one_is_the_detector_to_the_bit(detectors: Callable, kind: str):  # noqa: F811
    model = detectors(kind).eval()
    (batch,) = batches_of([config(96)])
    with torch.no_grad():
        expected, found = model(batch), DetectorPanel([model], [config(96)])(batch)
    assert expected.valid.any()
    for one, two in zip(found, expected, strict=True):
        assert (one is None and two is None) or torch.equal(one, two)


# Pixels of a picture of 96 x 120: larger and smaller than a side of 30, at the border and beyond it.
BOXES = torch.tensor(
    [[0.0, 0, 90, 80], [5, 5, 16, 20], [60, 50, 90, 80], [100, 80, 130, 90], [10, 0, 40, 96]]
)


def slow_score(model: FasterRCNN, views: list[Batch], box: Tensor, row: int, region_side: float):
    """One region of one picture, in pixels of the first view: from two scales, or of one view from that."""
    base, *scales = views
    maps = {id(view): model.extract(view) for view in {id(view): view for view in views}.values()}
    heads, scores = model.roi_heads, []
    width, height = (box[2:] - box[:2]).tolist()

    def vector(view: Batch, corners: Tensor, reader: nn.Module) -> Tensor:
        scale = (view.scales[row] / base.scales[row]).flip(0).repeat(2)
        features = [level[row : row + 1] for level in maps[id(view)]]
        return reader.read(features, (corners * scale)[None, None], view.sizes[row : row + 1])[1][0, 0]

    for reader, stage in heads.stages:
        if scales:
            ratios = [float(view.scales[row].prod() / base.scales[row].prod()) for view in scales]
            width, height = (box[2:] - box[:2]).tolist()
            smaller = [k for k, ratio in enumerate(ratios) if width * height * ratio <= region_side**2]
            low = min(max(smaller[-1] if smaller else 0, 0), len(scales) - 2)
            two = [vector(scales[k], box, reader) for k in (low, low + 1)]
            joined = torch.maximum(*two)
        else:
            joined = vector(base, box, reader)
        logits, deltas = reader.predict(joined[None, None])
        scores.append(logits.softmax(dim=2)[0, 0, 1:])
        boxes = decode_boxes(deltas[0, 0], box, weights=stage.weights)
        boxes = clip_boxes(boxes[None], base.sizes[row : row + 1])[0]
        box = boxes[0]
    return torch.stack(scores).mean(dim=0), boxes.expand(len(scores[0]), 4)


@pytest.mark.parametrize(("kind", "stages", "context"), [("c4", 1, True), ("fpn", 2, False)])
def test_regions_of_several_scales_as_a_slow_version(
    detectors: Callable,  # noqa: F811
    kind: str,
    stages: int,
    context: bool,
):
    model, how = detectors(kind, stages=stages, context=context).eval(), config(96, 64, 96, 160, 224)
    batches = batches_of([how])
    views = [batches[place] for place in PictureScales([how]).places[0]]
    with torch.no_grad():
        sight = _Sight(model, views, views[0], 30.0)
        picked = BOXES.expand(2, -1, -1)
        scores, boxes = sight.score(picked)
        factors = torch.cat([factor for *_, factor in sight.scales], dim=1)
        assert lower_scales(picked, factors, 30.0).unique().tolist() == [0, 1, 2]
        for row in range(2):
            for region, box in enumerate(BOXES):
                expected = slow_score(model, views, box, row, 30.0)
                torch.testing.assert_close(scores[row, region], expected[0], atol=1e-4, rtol=1e-3)
                torch.testing.assert_close(boxes[row, region], expected[1], atol=1e-2, rtol=1e-3)


def test_the_trunk_runs_once_for_every_scale(detectors: Callable):  # noqa: F811
    model, how, sizes = detectors("c4").eval(), config(96, 64, 96, 160), []
    model.trunk.register_forward_hook(lambda trunk, given, maps: sizes.append(given[0].shape[-2]))
    with torch.no_grad():
        found = DetectorPanel([model], [how])(*batches_of([how]))
    assert sorted(sizes) == [64, 96, 160] and found.valid.any()


class Recorder(nn.Module):
    """Stands for the heads of the first detector, and keeps what `answer` is given."""

    def __init__(self, heads: nn.Module) -> None:
        super().__init__()
        self.heads, self.given = heads, None

    def answer(self, score: Callable, masks: Callable, proposals: object) -> Detections:
        self.given = score, masks, proposals
        return self.heads.answer(score, masks, proposals)

    def __getattr__(self, name: str) -> object:
        return super().__getattr__(name) if name in ("heads", "given") else getattr(self.heads, name)


def test_an_ensemble_averages_what_is_said_of_the_union_of_proposals(detectors: Callable):  # noqa: F811
    """Of different backbones, sizes and kinds."""
    models = [detectors("c4").eval(), detectors("fpn").eval()]
    configs = [config(96), config(128)]
    models[0].roi_heads = Recorder(models[0].roi_heads)
    batches = batches_of(configs)
    with torch.no_grad():
        found = DetectorPanel(models, configs)(*batches)
        score, _, proposals = models[0].roi_heads.given
        own, _ = models[0].propose(batches[0])
        others, _ = models[1].propose(batches[1])
        ratio = (batches[0].scales / batches[1].scales).flip(1).repeat(1, 2)[:, None]
        torch.testing.assert_close(proposals.boxes, torch.cat([own.boxes, others.boxes * ratio], dim=1))
        assert torch.equal(proposals.valid, torch.cat([own.valid, others.valid], dim=1))
        scores, boxes = score(BOXES.expand(2, -1, -1))
        for row in range(2):
            for region, box in enumerate(BOXES):
                one = slow_score(models[0], [batches[0]], box, row, 0)
                two = slow_score(models[1], [batches[1]], box / ratio[row, 0], row, 0)
                torch.testing.assert_close(scores[row, region], (one[0] + two[0]) / 2, atol=1e-4, rtol=1e-3)
                mean = (one[1] + two[1] * ratio[row]) / 2
                torch.testing.assert_close(boxes[row, region], mean, atol=1e-2, rtol=1e-3)
    assert found.valid.any()


def test_a_detector_beside_itself_finds_what_it_finds_alone(detectors: Callable):  # noqa: F811
    model, how = detectors("mask").eval(), config(96)
    model.roi_heads.options = replace(model.roi_heads.options, nms_threshold=0.5)
    (batch,) = batches_of([how, how])
    with torch.no_grad():
        alone, pair = model(batch), DetectorPanel([model, model], [how, how])(batch)
    assert torch.equal(alone.valid, pair.valid) and torch.equal(alone.labels, pair.labels)
    for one, two in zip(alone, pair, strict=True):
        torch.testing.assert_close(one[alone.valid], two[alone.valid], atol=1e-4, rtol=1e-4)


def test_masks_of_an_ensemble_are_means_on_the_largest_grid():
    draw = torch.Generator().manual_seed(0)
    small, large = torch.rand(1, 2, 14, 14, generator=draw), torch.rand(1, 2, 28, 28, generator=draw)
    mean = _mean_of_grids([small, large])
    expected = (F.interpolate(small, size=28, mode="bilinear", align_corners=False) + large) / 2
    torch.testing.assert_close(mean, expected)
    assert torch.equal(_mean_of_grids([small]), small)
