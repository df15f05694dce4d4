"""torchvision's detectors with random weights, converted and compared with themselves."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import (
    FasterRCNN_ResNet50_FPN_Weights,
    MaskRCNN_ResNet50_FPN_Weights,
    fasterrcnn_resnet50_fpn,
    maskrcnn_resnet50_fpn,
)

import detection
from backbones import WeightsError, read_weights
from backbones.norm import calibrate_batchnorm
from backbones.weights.downloads import digest
from detection.build import load_detector
from detection.config import DetectionConfig
from detection.data.detection_batches import picture_batch
from detection.model.rpn import Proposals
from detection.published_detectors import (
    PUBLISHED_DETECTORS,
    coco_classes,
    convert_detector,
    find_detector,
    from_torchvision,
    refuse_detector,
)
from detection.results.detection_result import DetectionResult
from training.config import parse_config

FASTER, MASK = PUBLISHED_DETECTORS
BUILDERS = {FASTER: fasterrcnn_resnet50_fpn, MASK: maskrcnn_resnet50_fpn}
# The short side is the network's, so nothing is resized; padded to 160 x 224, whose pooled top has 3 x 4
# cells at 53 and 56 pixels, where 64 are its stride. Anchors are centred on the padding too.
SIZE = (160, 213)
SMALL = ["data.short_side=160", "data.max_side=300"]


def picture() -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    shades = [128 + 100 * np.sin(rows / a) * np.cos(columns / b) for a, b in ((31, 17), (13, 29), (23, 23))]
    noise = np.random.default_rng(0).normal(0, 20, (*SIZE, 3))
    return np.clip(np.stack(shades, axis=2) + noise, 0, 255).astype(np.uint8)


def tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1) / 255


@torch.no_grad()
def torchvisions(name: str) -> nn.Module:
    """With random weights that find something, and epsilon 0 as its COCO_V1 has."""
    torch.manual_seed(0)
    model = BUILDERS[name](weights=None, weights_backbone=None, min_size=160, max_size=300).eval()
    calibrate_batchnorm(model.backbone, [(tensor(picture())[None] - 0.45) / 0.225])
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.eps = 0.0
    for layer, factor in (
        (model.rpn.head.cls_logits, 60),
        (model.rpn.head.bbox_pred, 20),
        (model.roi_heads.box_predictor.cls_score, 10),
        (model.roi_heads.box_predictor.bbox_pred, 5),
    ):
        layer.weight.mul_(factor)
    if name == MASK:
        model.roi_heads.mask_predictor.mask_fcn_logits.weight.mul_(20)
    # Outputs of ids that COCO does not use, which trained networks never give.
    unused = sorted(set(range(1, 91)) - set(coco_classes()[1]))
    model.roi_heads.box_predictor.cls_score.bias[unused] = -100.0
    return model


Pair = tuple[str, nn.Module, Path]


@pytest.fixture(scope="module", params=[FASTER, MASK])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A name, torchvision's network, and the file that is made of it."""
    folder, model = tmp_path_factory.mktemp("torchvision"), torchvisions(request.param)
    torch.save(model.state_dict(), folder / "published.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESIDUAL_CACHE", str(folder / "cache"))
        detector = PUBLISHED_DETECTORS[request.param]
        convert_detector(detector, folder / "published.pth", detector.path)
        yield request.param, model, detector.path


def number_alike(found: DetectionResult, ids: list[int], expected: dict[str, Tensor]) -> int:
    """How many of what torchvision finds has its like, of the same class, place and score, in ours.

    Not in order: rounding exchanges detections of nearly one score.
    """
    numbers = torch.tensor([ids[label - 1] for label in found.labels.tolist()])
    alike = (found.boxes[:, None] - expected["boxes"]).abs().amax(dim=2) < 0.5
    alike &= (found.scores[:, None] - expected["scores"]).abs() < 0.01
    return int((alike & (numbers[:, None] == expected["labels"])).any(dim=0).sum())


def test_detections_are_torchvisions(pair: Pair):
    name, model, file = pair
    with torch.no_grad():
        (expected,) = model([tensor(picture())])
    counts = {}
    for override in ("run.seed=0", "rpn.anchor_grid=strides"):
        detector = detection.load(file, device="cpu", overrides=[*SMALL, override])
        found = detector(picture(), threshold=0)
        assert len(found) == len(expected["labels"]) == 100 and (found.masks is not None) == (name == MASK)
        counts[override] = number_alike(found, detector.category_ids, expected)
    # Anchors of the pooled top on multiples of its stride give others here and there.
    assert counts["run.seed=0"] == 100 > counts["rpn.anchor_grid=strides"]


@torch.no_grad()
def test_each_part_is_torchvisions(pair: Pair):
    """Proposals of the same maps, and what the heads make of the same proposals."""
    name, theirs, file = pair
    loaded = load_detector(file, SMALL)
    ours, batch = loaded.model, picture_batch(picture(), loaded.config.data)
    images, _ = theirs.transform([tensor(picture())])
    maps = theirs.backbone(images.tensors)
    for level, expected in zip(ours.extract(batch), maps.values(), strict=True):
        assert (level - expected).abs().max() < 1e-3 * expected.abs().max()
    features = list(maps.values())
    (boxes,), _ = theirs.rpn(images, maps)
    proposals = ours.propose(batch, features)[0]
    assert proposals.valid.sum() == len(boxes) > 100
    distances = torch.cdist(boxes, proposals.boxes[0], p=torch.inf)
    assert (distances.amin(dim=1) < 1e-2).float().mean() > 0.99
    given = Proposals(boxes[None], torch.ones(1, len(boxes), dtype=torch.bool))
    found = ours.roi_heads.detect(features, given, batch.sizes)
    (expected,), _ = theirs.roi_heads(maps, [boxes], images.image_sizes)
    torch.testing.assert_close(found.scores[0], expected["scores"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.boxes[0], expected["boxes"], rtol=1e-4, atol=1e-2)
    assert [loaded.category_ids[i - 1] for i in found.labels[0].tolist()] == expected["labels"].tolist()
    if name == MASK:
        torch.testing.assert_close(found.masks[0], expected["masks"][:, 0], rtol=1e-3, atol=1e-3)


def test_the_file_says_what_it_is(pair: Pair):
    name, _, file = pair
    _, header = read_weights(file)
    assert header.classes[:3] == ["person", "bicycle", "car"] and len(header.classes) == 80
    assert header.options["category_ids"][-1] == 90 and header.dataset == "coco train2017"
    assert header.score == PUBLISHED_DETECTORS[name].scores and header.norm_eps < 1e-20
    config = parse_config(DetectionConfig, header.config, source=name)
    assert (config.backbone.norm, config.backbone.frozen_stages, config.data.short_side) == ("frozen", 2, 800)
    assert (config.detector.mask, config.rpn.post_nms_test, config.roi.aligned) == (name == MASK, 1000, False)
    assert config.rpn.anchor_sizes == (32, 64, 128, 256, 512) and config.roi.score_threshold == 0.05


def test_a_name_is_fetched_and_converted_once(
    publisher: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "published.pth"
    torch.save(torchvisions(FASTER).state_dict(), file)
    publisher.files["/published.pth"] = file.read_bytes()
    entry = replace(
        PUBLISHED_DETECTORS[FASTER], url=f"{publisher.url}/published.pth", digest=digest(file)[:8]
    )
    monkeypatch.setitem(PUBLISHED_DETECTORS, FASTER, entry)
    assert not entry.is_cached
    assert (
        find_detector(FASTER)
        == find_detector(FASTER)
        == publisher.cache / "weights" / f"{FASTER}.v1.safetensors"
    )
    assert publisher.asked == ["/published.pth"] and entry.is_cached


def test_the_table_is_torchvisions():
    for name, weights in (
        (FASTER, FasterRCNN_ResNet50_FPN_Weights.COCO_V1),
        (MASK, MaskRCNN_ResNet50_FPN_Weights.COCO_V1),
    ):
        entry, metrics = PUBLISHED_DETECTORS[name], weights.meta["_metrics"]["COCO-val2017"]
        assert (entry.url, entry.mib) == (weights.url, weights.meta["_file_size"])
        assert len(entry.digest) == 8 and entry.digest in entry.url
        assert {key: round(100 * value, 1) for key, value in entry.scores.items()} == {
            {"box_map": "AP", "mask_map": "segm/AP"}[key]: value for key, value in metrics.items()
        }


def test_names_of_earlier_releases():
    """As they stand in the published files: without the blocks' inner numbers, masks counted from 1."""
    old = {
        "backbone.fpn.inner_blocks.2.weight": "trunk.fpn.inner_blocks.2.0.weight",
        "rpn.head.conv.bias": "rpn.head.conv.bias",
        "roi_heads.mask_head.mask_fcn1.weight": "roi_heads.mask_head.convolutions.0.0.weight",
        "backbone.body.layer1.0.bn1.running_var": "trunk.body.layer1.0.bn1.running_var",
        "something.else": "something.else",
    }
    assert list(from_torchvision(dict.fromkeys(old, torch.zeros(1)), [1])) == list(old.values())


def test_rows_of_the_predictors():
    # Four outputs, of which 1 and 3 become our labels 1 and 2; a box has four rows.
    state = {
        "roi_heads.box_predictor.cls_score.bias": torch.arange(4),
        "roi_heads.box_predictor.bbox_pred.bias": torch.arange(16),
        "roi_heads.mask_predictor.mask_fcn_logits.bias": torch.arange(4),
    }
    rows = [tensor.tolist() for tensor in from_torchvision(state, [1, 3]).values()]
    assert rows == [[0, 1, 3], [4, 5, 6, 7, 12, 13, 14, 15], [1, 3]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "torchvision/fasterrcnn_resnet50_fpn.COCO_V2",
            "unknown detector .*; did you mean 'torchvision/faster",
        ),
        (
            "torchvision/fasterrcnn_resnet50_fpn_v2.COCO_V1",
            "its heads have convolutions .*; choose from torch",
        ),
        ("torchvision/retinanet_resnet50_fpn.COCO_V1", "it is a RetinaNet"),
        (
            "torchvision/resnet50.IMAGENET1K_V1",
            "is a classifier, not a detector; .*backbone.weights=torchvis",
        ),
    ],
)
def test_other_names_are_refused(name: str, text: str):
    with pytest.raises(WeightsError, match=text):
        detection.load(name)


def test_a_detector_is_no_backbone(pair: Pair, tmp_path: Path):
    for weights in (FASTER, str(pair[2])):
        with pytest.raises(WeightsError, match=f"not a backbone; start from it with model.weights={weights}"):
            refuse_detector(weights)
    refuse_detector("torchvision/resnet50.IMAGENET1K_V1")
    with pytest.raises(WeightsError, match="no weights at"):
        refuse_detector(str(tmp_path / "none.safetensors"))


def test_another_network_is_refused(tmp_path: Path):
    torch.save({"backbone.body.conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "cut.pth")
    with pytest.raises(WeightsError, match=r"cut\.pth → torchvision/fasterrcnn.*(.|\n)*missing in the file"):
        convert_detector(PUBLISHED_DETECTORS[FASTER], tmp_path / "cut.pth", tmp_path / "ours.safetensors")
    assert not (tmp_path / "ours.safetensors").exists()
