"""Heat maps of detections, beside plain Grad-CAM, and what cannot be explained."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from backbones import IMAGENET_INPUT, create_backbone
from backbones.explain.grad_cam import spread_heat
from backbones.pyramid import Pyramid
from backbones.simple_pyramid import SimplePyramid
from backbones.spec import FeatureSpec
from detection.build import LoadedDetector, assemble, load_detector
from detection.config import DetectionConfig
from detection.data.detection_batches import picture_batch
from detection.explain.detection_heat import _places, check_explainable, explain_detections
from detection.loaded_detector import Detector, load
from foundation.errors import UserError
from training.config import load_config

LEVELS = ("res2", "res3", "res4", "res5")
KINDS = {
    "c4": [],
    "dc5": ["detector.kind=dc5"],
    "fpn": ["detector.kind=fpn", "rpn.anchor_sizes=[8, 16, 32, 64, 128]", "detector.pyramid_channels=8"],
    "two_stage": ["training=two_stage"],
    "context": ["detector.context=true"],
    "cascade": ["roi.stages=2", "detector.class_agnostic=true"],
}


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def random_detector(tiny_options: list[str], *changes: str) -> Detector:
    config = load_config(DetectionConfig, None, [*tiny_options, "roi.score_threshold=0", *changes])
    torch.manual_seed(0)
    model = assemble(config, 2, weights=None).eval()
    for reader, _ in model.roi_heads.stages:
        torch.nn.init.normal_(reader.classifier.weight, std=0.1)
    return Detector(LoadedDetector(model, config, ["person", "dog"], [1, 2]))


@pytest.mark.parametrize("kind", KINDS)
def test_heat_is_grad_cam_of_the_regions_score(kind, tiny_options, pixels):
    detector = random_detector(tiny_options, *KINDS[kind])
    (found,) = detector.find([pixels])
    rows = torch.arange(0, len(found.scores), 2)  # of random networks some are cold
    heats = list(explain_detections(detector, pixels, found.of_rows(rows)))
    assert [heat.shape for heat in heats] == [(40, 60)] * len(rows)
    model: Any = detector.network
    batch = picture_batch(pixels, detector.config.data)
    with torch.no_grad():
        fixed = model.extract(batch)
        proposals, _ = model.propose(batch, fixed)
    features = [values.clone().requires_grad_() for values in fixed]

    def read(reader, boxes):
        return reader.read(features, boxes, batch.sizes)[1]

    scores, _ = model.roi_heads.score(read, batch.sizes, proposals.boxes)
    for heat, row in zip(heats, rows.tolist(), strict=True):
        label = int(found.labels[row])
        region = int((scores[0, :, label - 1] - found.scores[row]).abs().argmin())
        assert scores[0, region, label - 1].item() == pytest.approx(found.scores[row].item(), rel=1e-4)
        gradients = torch.autograd.grad(
            scores[0, region, label - 1], features, retain_graph=True, allow_unused=True
        )
        size, whole = batch.images.shape[2:], 0
        for gradient, values, spec in zip(gradients, fixed, model.feature_specs.values(), strict=True):
            if gradient is not None:
                cam = (gradient.mean((2, 3), keepdim=True) * values).sum(1).relu()
                whole = whole + spread_heat(cam, size, spec.stride, 0.0)
        height, width = batch.sizes[0].int().tolist()
        whole = whole[None, :, :height, :width]
        expected = F.interpolate(whole, (40, 60), mode="bilinear")[0, 0].detach().numpy()
        np.testing.assert_allclose(heat, expected, rtol=1e-3, atol=1e-5 * max(1e-6, expected.max()))
    assert max(heat.max() for heat in heats) > 0


def test_no_detections_have_no_heat(tiny_options, pixels):
    detector = random_detector(tiny_options)
    (found,) = detector.find([pixels])
    nothing = found.of_rows(torch.zeros(0, dtype=torch.int64))
    assert list(explain_detections(detector, pixels, nothing)) == []


def test_heat_lies_where_the_cells_of_each_trunk_look():
    class Maps(nn.Module):
        """Of stride 16, each cell a patch."""

        feature_specs, name, input_spec = {"res4": FeatureSpec(4, 16)}, "patches", IMAGENET_INPUT

    class Model(nn.Module):
        def __init__(self, trunk: nn.Module) -> None:
            super().__init__()
            self.trunk, self.feature_specs = trunk, trunk.feature_specs

    # ConvNeXt and VGG reduce their maps two by two, ResNets around a middle; levels stand on res2 … res5.
    residual, convnext = (
        create_backbone(name, out_features=LEVELS) for name in ("resnet18", "timm/convnext_atto")
    )
    assert _places(Model(Pyramid(residual.eval(), 8))) == {4: 0, 8: 0, 16: 0, 32: 0, 64: 0}
    assert _places(Model(Pyramid(convnext.eval(), 8))) == {4: 1.5, 8: 3.5, 16: 7.5, 32: 15.5, 64: 0}
    assert _places(Model(create_backbone("vgg16", out_features=("conv5",)).eval())) == {16: 7.5}
    assert _places(Model(SimplePyramid(Maps(), 8))) == {4: 1.5, 8: 3.5, 16: 7.5, 32: 15.5, 64: 31.5}


def test_what_is_refused(detector_weights: Path):
    one = "is of one look at a picture by one detector"
    changes = [{"overrides": [change]} for change in ("testing.refine=1", "testing.vote=true")]
    for options in ({"tta": "flip"}, *changes):
        with pytest.raises(UserError, match=one):
            check_explainable(load(detector_weights, device="cpu", **options), [])
    with pytest.raises(UserError, match=one):
        check_explainable(load([detector_weights] * 2, device="cpu"), [])
    detector = Detector(load_detector(detector_weights, ["run.device=cpu"]))
    check_explainable(detector, [Path("a.png")])
    with pytest.raises(UserError, match=r"--explain is for pictures, film\.mp4 is a video"):
        check_explainable(detector, [Path("a.png"), Path("film.mp4")])
